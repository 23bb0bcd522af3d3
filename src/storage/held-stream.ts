// A stream that holds on to something for as long as it is read.
import { transferAround, type ByteStream } from '../bytes/stream.ts'

/** Owns both: each of the three ways in which a stream is released lets go of `hold`. */
export class HeldStream implements ByteStream {
  readonly transferTo: ByteStream['transferTo']
  readonly again: ByteStream['again']
  readonly #stream: ByteStream
  readonly #hold: Disposable

  constructor(stream: ByteStream, hold: Disposable, again?: ByteStream['again']) {
    this.again = again
    this.#stream = stream
    this.#hold = hold
    this.transferTo = transferAround(stream, async (transfer) => {
      using _ = hold
      await transfer()
    })
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void> {
    const chunks = this.#stream[Symbol.asyncIterator]()
    return {
      next: async () => {
        try {
          const next = await chunks.next()
          if (next.done === true) this.#hold[Symbol.dispose]()
          return next
        } catch (error) {
          this.#hold[Symbol.dispose]()
          throw error
        }
      },
      return: async () => {
        await this[Symbol.asyncDispose]()
        return { done: true, value: undefined }
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#stream[Symbol.asyncDispose]()
    } finally {
      this.#hold[Symbol.dispose]()
    }
  }
}

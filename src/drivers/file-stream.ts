// A file's bytes as a stream, through buffers that are used again: while the consumer drains one chunk, the next is read.
import type { BufferPool } from './buffer-pool.ts'
import type { OpenFile } from './driver.ts'
import { closeFile, readAt } from './file-io.ts'

export interface FileStreamOptions {
  readonly fd: number
  readonly size: number
  readonly version: string
  readonly start: number
  readonly end: number
  readonly pool: BufferPool
  /** Turns what a call failed with into what the driver's callers know. */
  readonly failure: (error: unknown) => Error
  /** What to fail with where the file ends too early. */
  readonly short: () => Error
}

/** Owns its descriptor: reading to the end, leaving the loop and disposing each close it, once, with no read under way. */
export class FileStream implements OpenFile {
  readonly size: number
  readonly version: string
  readonly #options: FileStreamOptions
  readonly #chunks: AsyncGenerator<Uint8Array, void>
  #closing: Promise<void> | undefined

  constructor(options: FileStreamOptions) {
    this.#options = options
    this.size = options.size
    this.version = options.version
    this.#chunks = this.#read()
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void> {
    const leave = async (): Promise<IteratorResult<Uint8Array, void>> => {
      await this[Symbol.asyncDispose]()
      return { done: true, value: undefined }
    }
    return { next: async () => await this.#chunks.next(), return: leave }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return() // waits for a `next` under way; does nothing for a stream that was never begun
    await this.#close()
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    const { pool, end } = this.#options
    let at = this.#options.start
    if (at >= end) return await this.#close()
    let filling = pool.take(end - at)
    let resting: Buffer | undefined
    let reading: Promise<number> | undefined
    try {
      while (at < end) {
        const count = await (reading ?? this.#fill(filling, at))
        reading = undefined
        const chunk = filling.subarray(0, count)
        at += count
        if (at === end) void this.#close()
        else if (pool.isLarge(filling)) {
          const next: Buffer = resting ?? pool.take(end - at)
          resting = filling
          filling = next
          reading = this.#fill(filling, at)
          reading.catch(() => {}) // seen when it is awaited
        }
        yield chunk
      }
    } finally {
      await reading?.catch(() => {})
      pool.give(filling)
      if (resting !== undefined) pool.give(resting)
      await this.#close()
    }
  }

  async #fill(buffer: Buffer, at: number): Promise<number> {
    const { fd, end, failure, short } = this.#options
    let count: number
    try {
      count = await readAt(fd, buffer, Math.min(buffer.byteLength, end - at), at)
    } catch (error) {
      throw failure(error)
    }
    if (count === 0) throw short()
    return count
  }

  async #close(): Promise<void> {
    // What was read is read: a descriptor that cannot be closed properly is nobody's news.
    this.#closing ??= closeFile(this.#options.fd).catch(() => {})
    await this.#closing
  }
}

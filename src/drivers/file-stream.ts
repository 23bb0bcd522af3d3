// A file's bytes as a stream, through buffers that are used again: while the consumer drains one chunk, the next is read.
import type { ByteTarget, SendableFile } from '../bytes/stream.ts'
import type { OpenFile } from './driver.ts'
import { closeFile, readAt } from './file-io.ts'
import type { Lease, SharedBlocks, SharedReader } from './shared-blocks.ts'

/** Bytes that the system is to send in one go. It does so as long as the client takes them: some milliseconds. */
const sentAtOnce: number = 8 * 1024 * 1024

/** Bytes that are written where the system takes no more for now: each stream has room for so many. */
const fewBytes: number = 4 * 1024

export interface FileStreamOptions {
  readonly fd: number
  readonly size: number
  readonly version: string
  /** Another one for any other file; it stays while a file grows. */
  readonly identity: string
  readonly start: number
  readonly end: number
  readonly blocks: SharedBlocks
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
  readonly #shared: SharedReader
  readonly #chunks: AsyncGenerator<Uint8Array, void>
  #closing: Promise<void> | undefined

  constructor(options: FileStreamOptions) {
    this.#options = options
    this.size = options.size
    this.version = options.version
    this.#shared = options.blocks.join(options.identity, options, async (into, at) => await this.#fill(into, at))
    this.#chunks = this.#read()
  }

  /** Where the system takes no more, a few bytes are read and written, which waits until it does. */
  async transferTo(target: ByteTarget): Promise<void> {
    const { fd, start, end } = this.#options
    const file: SendableFile = { fd, isInMemory: false }
    let few: Buffer | undefined
    try {
      for (let at = start; at < end;) {
        const wanted = Math.min(end - at, sentAtOnce)
        const taken = await target.sendFile(file, at, wanted)
        at += taken
        if (taken === wanted) continue
        if (taken === 0) at += await this.#writeSome(target, at)
        else {
          few ??= Buffer.allocUnsafeSlow(fewBytes)
          const count = await this.#fill(few.subarray(0, Math.min(fewBytes, end - at)), at)
          if (count === 0) throw this.#options.short()
          await target.write(few.subarray(0, count))
          at += count
        }
      }
    } finally {
      this.#shared.leave()
      await this.#close()
    }
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
    this.#shared.leave()
    await this.#close()
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    const { end, short } = this.#options
    let at = this.#options.start
    let lease: Lease | undefined
    let next: Lease | undefined
    try {
      while (at < end) {
        lease = next ?? this.#shared.take(at, end)
        next = undefined
        const chunk = await lease.bytes
        if (chunk.byteLength === 0) throw short()
        at += chunk.byteLength
        if (at === end) void this.#close()
        else if (lease.isPlentiful) {
          next = this.#shared.take(at, end)
          next.bytes.catch(() => {}) // seen when it is awaited
        }
        yield chunk
        lease.end()
        lease = undefined
      }
    } finally {
      await next?.bytes.catch(() => {})
      next?.end()
      lease?.end()
      this.#shared.leave()
      await this.#close()
    }
  }

  async #writeSome(target: ByteTarget, at: number): Promise<number> {
    const lease = this.#shared.read(at, this.#options.end)
    try {
      const chunk = await lease.bytes
      if (chunk.byteLength === 0) throw this.#options.short()
      await target.write(chunk)
      return chunk.byteLength
    } finally {
      lease.end()
    }
  }

  async #fill(into: Buffer, from: number): Promise<number> {
    const { fd, failure } = this.#options
    let filled = 0
    try {
      while (filled < into.byteLength) {
        const count = await readAt(fd, into.subarray(filled), into.byteLength - filled, from + filled)
        if (count === 0) break
        filled += count
      }
    } catch (error) {
      throw failure(error)
    }
    return filled
  }

  async #close(): Promise<void> {
    // What was read is read: a descriptor that cannot be closed properly is nobody's news.
    this.#closing ??= closeFile(this.#options.fd).catch(() => {})
    await this.#closing
  }
}

// Files that lie in memory: the system sends them without copying, and nobody has to wait for a disk.
import { readSync } from 'node:fs'
import type { ByteRange } from './range.ts'
import type { ByteStream, ByteTarget, SendableFile } from './stream.ts'

/** Its descriptor is closed when it is disposed. */
export interface MemoryFile extends SendableFile, Disposable {}

export interface MemoryFiles {
  /** A file with these bytes, which is the caller's. `undefined` where there can be none, or nothing would be gained by one. */
  create(bytes: Uint8Array): MemoryFile | undefined
}

/** Bytes that are read in one go where the system is not asked, or takes none: each client who waits holds so many. */
const readAtOnce: number = 64 * 1024

/**
 * Bytes that are written where the system takes no more for now, which waits until it does. Also the first to be read: an
 * answer may have to wait until others of its connection have left, and a client can ask for hundreds of them at once.
 */
const fewBytes: number = 4 * 1024

/** Bytes of such a file, which stays its owner's. */
export class MemoryFileStream implements ByteStream {
  readonly #file: MemoryFile
  readonly #range: ByteRange

  constructor(file: MemoryFile, range: ByteRange) {
    this.#file = file
    this.#range = range
  }

  async transferTo(target: ByteTarget): Promise<void> {
    const { start, end } = this.#range
    for (let at = start; at < end;) {
      const taken = await target.sendFile(this.#file, at, end - at)
      at += taken
      if (at === end) return
      const bytes = this.#read(at, taken > 0 || at === start ? fewBytes : readAtOnce)
      await target.write(bytes)
      at += bytes.byteLength
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const { start, end } = this.#range
    for (let at = start; at < end;) {
      const bytes = this.#read(at, at === start ? fewBytes : readAtOnce)
      yield bytes
      at += bytes.byteLength
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Does not wait: the bytes are in memory. */
  #read(position: number, most: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.min(this.#range.end - position, most))
    const count = readSync(this.#file.fd, bytes, 0, bytes.byteLength, position)
    if (count !== bytes.byteLength) throw new Error(`a file in memory has ${count} of ${bytes.byteLength} bytes`)
    return bytes
  }
}

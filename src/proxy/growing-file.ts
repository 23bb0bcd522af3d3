// A reader of a fill who is sent what is in the file, as it is written there.
import type { ByteTarget, SendableFile } from '../bytes/stream.ts'

export interface GrowingFile {
  /**
   * Behind the last byte that is in the file and may leave; `undefined` where the file is not to be counted on any more.
   * @throws why the reader is to stop
   */
  readonly there: () => number | undefined
  /** Resolves when that may have changed. */
  readonly news: () => Promise<void>
  /** Told how many more bytes have left. */
  readonly onTaken: (count: number) => void
}

/** There will be no more bytes in the file; those that have left are right. */
export class NoFileError extends Error {
  override readonly name = 'NoFileError'
}

/** Waits for bytes that the file has not yet. */
export class GrowingFileTarget implements ByteTarget {
  readonly #target: ByteTarget
  readonly #file: GrowingFile
  #at: number
  #hasFailed = false

  /** `start`: the first byte that leaves. */
  constructor(target: ByteTarget, file: GrowingFile, start: number) {
    this.#target = target
    this.#file = file
    this.#at = start
  }

  /** Whether it has thrown. Where a transfer to it fails and it has not, the file could not be read. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  /** @throws NoFileError */
  async sendFile(file: SendableFile, position: number, length: number): Promise<number> {
    const end = position + length
    await this.#noting(async () => {
      while (this.#at < end) {
        const wanted = Math.min(end, await this.#there()) - this.#at
        const taken = await this.#target.sendFile(file, this.#at, wanted)
        this.#take(taken)
        if (taken < wanted) break
      }
    })
    return this.#at - position
  }

  /** @throws NoFileError */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#noting(async () => {
      for (let rest = bytes; rest.byteLength > 0;) {
        const part = rest.subarray(0, (await this.#there()) - this.#at)
        await this.#target.write(part)
        this.#take(part.byteLength)
        rest = rest.subarray(part.byteLength)
      }
    })
  }

  async #noting(task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      this.#hasFailed = true
      throw error
    }
  }

  async #there(): Promise<number> {
    for (;;) {
      const there = this.#file.there()
      if (there === undefined) throw new NoFileError()
      if (there > this.#at) return there
      await this.#file.news()
    }
  }

  #take(count: number): void {
    this.#at += count
    this.#file.onTaken(count)
  }
}

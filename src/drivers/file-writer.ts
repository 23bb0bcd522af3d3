// A file of the filesystem driver that is being written, from its end on.
import type { DriverPath, FileWriter } from './driver.ts'
import { failure } from './file-failure.ts'
import { closeFile, emptyFile, syncFile, writeAt } from './file-io.ts'

/** Owns its descriptor. */
export class FilesystemWriter implements FileWriter {
  readonly #fd: number
  readonly #path: DriverPath
  #size: number
  #syncFailure: Error | undefined
  #running: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(fd: number, path: DriverPath, size: number) {
    this.#fd = fd
    this.#path = path
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  async truncate(): Promise<void> {
    if (this.#size === 0) return
    await emptyFile(this.#fd)
    this.#size = 0
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#checkOpen()
    await this.#run(async () => {
      await writeAt(this.#fd, chunk, this.#size, (count) => {
        this.#size += count
      })
    })
  }

  async sync(): Promise<void> {
    this.#checkOpen()
    if (this.#syncFailure !== undefined) throw this.#syncFailure
    try {
      await this.#run(async () => await syncFile(this.#fd))
    } catch (error) {
      // A second fsync would succeed: the system has dropped what it could not write, and tells it only once.
      this.#syncFailure = failure(error, this.#path)
      throw this.#syncFailure
    }
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {})
  }

  /** Not while a call is under way: the number would go to another file, and what was meant for ours would follow. */
  async #close(): Promise<void> {
    await this.#running
    await this.#run(async () => await closeFile(this.#fd))
  }

  async #run(task: () => Promise<void>): Promise<void> {
    const run = task()
    this.#running = run.catch(() => {})
    try {
      await run
    } catch (error) {
      throw failure(error, this.#path)
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new Error(`the writer of ${this.#path} is closed`)
  }
}

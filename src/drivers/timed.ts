// A driver whose calls are timed. Of what is opened, the opening is: how long a client takes to read it says nothing.
import type {
  DriverPath,
  FileRange,
  FileStat,
  FileWriter,
  OpenFile,
  RemoveOptions,
  StorageDriver,
  WriterOptions,
} from './driver.ts'

/** Is told how long a call took, in seconds, whether or not it failed; must not fail itself. */
export type Observe = (action: keyof StorageDriver, seconds: number) => void

export class TimedDriver implements StorageDriver {
  readonly name: string
  readonly #driver: StorageDriver
  readonly #observe: Observe

  constructor(driver: StorageDriver, observe: Observe) {
    this.name = driver.name
    this.#driver = driver
    this.#observe = observe
  }

  async stat(path: DriverPath): Promise<FileStat> {
    return await this.#timed('stat', performance.now(), this.#driver.stat(path))
  }

  async read(path: DriverPath, limit: number): Promise<Buffer> {
    return await this.#timed('read', performance.now(), this.#driver.read(path, limit))
  }

  async open(path: DriverPath, range?: FileRange): Promise<OpenFile> {
    return await this.#timed('open', performance.now(), this.#driver.open(path, range))
  }

  async write(path: DriverPath, bytes: Uint8Array): Promise<void> {
    await this.#timed('write', performance.now(), this.#driver.write(path, bytes))
  }

  async writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter> {
    return await this.#timed('writer', performance.now(), this.#driver.writer(path, options))
  }

  async move(from: DriverPath, to: DriverPath): Promise<void> {
    await this.#timed('move', performance.now(), this.#driver.move(from, to))
  }

  async remove(path: DriverPath, options?: RemoveOptions): Promise<void> {
    await this.#timed('remove', performance.now(), this.#driver.remove(path, options))
  }

  async list(path: DriverPath): Promise<readonly string[]> {
    return await this.#timed('list', performance.now(), this.#driver.list(path))
  }

  async #timed<T>(action: keyof StorageDriver, startedAt: number, call: Promise<T>): Promise<T> {
    try {
      return await call
    } finally {
      this.#observe(action, (performance.now() - startedAt) / 1000)
    }
  }
}

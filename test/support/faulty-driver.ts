// A driver whose calls are seen, and can be made to fail, one by one.
import {
  DriverError,
  type DriverPath,
  type FileRange,
  type FileStat,
  type FileWriter,
  type OpenFile,
  type RemoveOptions,
  type StorageDriver,
  type WriterOptions,
} from '../../src/drivers/driver.ts'

export interface DriverCall {
  readonly method:
    | 'stat'
    | 'read'
    | 'open'
    | 'write'
    | 'writer'
    | 'move'
    | 'remove'
    | 'list'
    | 'append'
    | 'sync'
    | 'close'
  readonly path: DriverPath
  /** Where `move` puts the file. */
  readonly to?: DriverPath | undefined
}

/** Calls `before` ahead of every call, of files being written too; what it throws is what the call fails with. */
export function watchedDriver(driver: StorageDriver, before: (call: DriverCall) => void): StorageDriver {
  return new WatchedDriver(driver, before)
}

export interface FaultyDriver extends StorageDriver {
  /** The calls since the last `arm`, in order. */
  readonly calls: readonly DriverCall[]
  /** Lets the nth call from now on fail, counted from 1, and nothing else; 0 disarms. */
  arm(nth: number, code?: string): void
}

export function faultyDriver(driver: StorageDriver): FaultyDriver {
  let calls: DriverCall[] = []
  let failing = 0
  let failWith = 'EIO'
  const watched = watchedDriver(driver, (call) => {
    calls.push(call)
    if (calls.length === failing) throw new DriverError(failWith, `${call.method} of ${call.path} was made to fail`)
  })
  return Object.defineProperties(watched, {
    calls: { get: () => calls },
    arm: {
      value: (nth: number, code = 'EIO') => {
        calls = []
        failing = nth
        failWith = code
      },
    },
  }) as FaultyDriver
}

class WatchedDriver implements StorageDriver {
  readonly name: string
  readonly #driver: StorageDriver
  readonly #before: (call: DriverCall) => void

  constructor(driver: StorageDriver, before: (call: DriverCall) => void) {
    this.name = driver.name
    this.#driver = driver
    this.#before = before
  }

  async stat(path: DriverPath): Promise<FileStat> {
    this.#before({ method: 'stat', path })
    return await this.#driver.stat(path)
  }

  async read(path: DriverPath, limit: number): Promise<Buffer> {
    this.#before({ method: 'read', path })
    return await this.#driver.read(path, limit)
  }

  async open(path: DriverPath, range?: FileRange): Promise<OpenFile> {
    this.#before({ method: 'open', path })
    return await this.#driver.open(path, range)
  }

  async write(path: DriverPath, bytes: Uint8Array): Promise<void> {
    this.#before({ method: 'write', path })
    await this.#driver.write(path, bytes)
  }

  async writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter> {
    this.#before({ method: 'writer', path })
    return new WatchedWriter(await this.#driver.writer(path, options), path, this.#before)
  }

  async move(from: DriverPath, to: DriverPath): Promise<void> {
    this.#before({ method: 'move', path: from, to })
    await this.#driver.move(from, to)
  }

  async remove(path: DriverPath, options?: RemoveOptions): Promise<void> {
    this.#before({ method: 'remove', path })
    await this.#driver.remove(path, options)
  }

  async list(path: DriverPath): Promise<readonly string[]> {
    this.#before({ method: 'list', path })
    return await this.#driver.list(path)
  }
}

class WatchedWriter implements FileWriter {
  readonly #writer: FileWriter
  readonly #path: DriverPath
  readonly #before: (call: DriverCall) => void

  constructor(writer: FileWriter, path: DriverPath, before: (call: DriverCall) => void) {
    this.#writer = writer
    this.#path = path
    this.#before = before
  }

  get size(): number {
    return this.#writer.size
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#before({ method: 'append', path: this.#path })
    await this.#writer.write(chunk)
  }

  async sync(): Promise<void> {
    this.#before({ method: 'sync', path: this.#path })
    await this.#writer.sync()
  }

  async close(): Promise<void> {
    await this.#writer.close()
    this.#before({ method: 'close', path: this.#path })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]()
  }
}

// A driver whose calls are seen, and can be made to fail, one by one.
import { transferAround, type ByteStream } from '../../src/bytes/stream.ts'
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
    | 'chunk'
    | 'append'
    | 'sync'
    | 'close'
  readonly path: DriverPath
  /** Where `move` puts the file. */
  readonly to?: DriverPath | undefined
}

/** A call waits for what it gives back. */
type Before = (call: DriverCall) => Promise<void> | void

/** Calls `before` ahead of every call, of open files too; what it throws is what the call fails with. */
export function watchedDriver(driver: StorageDriver, before: Before): StorageDriver {
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

export interface Happening {
  readonly driver: StorageDriver
  readonly hasHappened: () => boolean
}

/** Lets something happen, once, just before the first call that fits; that call, and those behind it, wait. */
export function happening(
  driver: StorageDriver,
  fits: (call: DriverCall) => boolean,
  happens: () => Promise<void>,
): Happening {
  let running: Promise<void> | undefined
  const waiting = watchedDriver(driver, (call) => {
    if (running === undefined && fits(call)) running = happens()
    return running
  })
  return { driver: waiting, hasHappened: () => running !== undefined }
}

class WatchedDriver implements StorageDriver {
  readonly name: string
  readonly #driver: StorageDriver
  readonly #before: Before

  constructor(driver: StorageDriver, before: Before) {
    this.name = driver.name
    this.#driver = driver
    this.#before = before
  }

  async stat(path: DriverPath): Promise<FileStat> {
    const waiting = this.#before({ method: 'stat', path })
    if (waiting !== undefined) await waiting
    return await this.#driver.stat(path)
  }

  async read(path: DriverPath, limit: number): Promise<Buffer> {
    const waiting = this.#before({ method: 'read', path })
    if (waiting !== undefined) await waiting
    return await this.#driver.read(path, limit)
  }

  async open(path: DriverPath, range?: FileRange): Promise<OpenFile> {
    const waiting = this.#before({ method: 'open', path })
    if (waiting !== undefined) await waiting
    return new WatchedReader(await this.#driver.open(path, range), path, this.#before)
  }

  async write(path: DriverPath, bytes: Uint8Array): Promise<void> {
    const waiting = this.#before({ method: 'write', path })
    if (waiting !== undefined) await waiting
    await this.#driver.write(path, bytes)
  }

  async writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter> {
    const waiting = this.#before({ method: 'writer', path })
    if (waiting !== undefined) await waiting
    return new WatchedWriter(await this.#driver.writer(path, options), path, this.#before)
  }

  async move(from: DriverPath, to: DriverPath): Promise<void> {
    const waiting = this.#before({ method: 'move', path: from, to })
    if (waiting !== undefined) await waiting
    await this.#driver.move(from, to)
  }

  async remove(path: DriverPath, options?: RemoveOptions): Promise<void> {
    const waiting = this.#before({ method: 'remove', path })
    if (waiting !== undefined) await waiting
    await this.#driver.remove(path, options)
  }

  async list(path: DriverPath): Promise<readonly string[]> {
    const waiting = this.#before({ method: 'list', path })
    if (waiting !== undefined) await waiting
    return await this.#driver.list(path)
  }
}

class WatchedReader implements OpenFile {
  readonly size: number
  readonly version: string
  readonly transferTo: ByteStream['transferTo']
  readonly #file: OpenFile
  readonly #path: DriverPath
  readonly #before: Before

  constructor(file: OpenFile, path: DriverPath, before: Before) {
    this.size = file.size
    this.version = file.version
    this.#file = file
    this.#path = path
    this.#before = before
    this.transferTo = transferAround(file, async (transfer) => {
      const waiting = before({ method: 'chunk', path })
      if (waiting !== undefined) await waiting
      await transfer()
    })
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of this.#file) {
      const waiting = this.#before({ method: 'chunk', path: this.#path })
      if (waiting !== undefined) await waiting
      yield chunk
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]()
  }
}

class WatchedWriter implements FileWriter {
  readonly #writer: FileWriter
  readonly #path: DriverPath
  readonly #before: Before

  constructor(writer: FileWriter, path: DriverPath, before: Before) {
    this.#writer = writer
    this.#path = path
    this.#before = before
  }

  get size(): number {
    return this.#writer.size
  }

  async write(chunk: Uint8Array): Promise<void> {
    const waiting = this.#before({ method: 'append', path: this.#path })
    if (waiting !== undefined) await waiting
    await this.#writer.write(chunk)
  }

  async sync(): Promise<void> {
    const waiting = this.#before({ method: 'sync', path: this.#path })
    if (waiting !== undefined) await waiting
    await this.#writer.sync()
  }

  async close(): Promise<void> {
    await this.#writer.close()
    const waiting = this.#before({ method: 'close', path: this.#path })
    if (waiting !== undefined) await waiting
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]()
  }
}

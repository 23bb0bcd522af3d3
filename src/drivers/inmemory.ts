// A file tree in memory: for tests, and for a registry that may forget everything.
import {
  checkPath,
  checkPathBelowRoot,
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type FileRange,
  type FileStat,
  type FileWriter,
  type OpenFile,
  type RemoveOptions,
  type StorageDriver,
  type WriterOptions,
} from './driver.ts'

const chunkSize = 256 * 1024

export function inMemoryDriver(): StorageDriver {
  return new InMemoryDriver()
}

/** Names in no order; its version changes with them. */
class Folder extends Map<string, MemoryFile | Folder> {
  #changes = 0
  static #folders = 0
  readonly #number: number = Folder.#folders++

  get version(): string {
    return `folder-${this.#number}-${this.#changes}`
  }

  override set(name: string, node: MemoryFile | Folder): this {
    if (!this.has(name)) this.#changes++
    return super.set(name, node)
  }

  override delete(name: string): boolean {
    const wasThere = super.delete(name)
    if (wasThere) this.#changes++
    return wasThere
  }
}

/** A file without a name: who has opened it keeps it, wherever it is moved. */
class MemoryFile {
  size = 0
  modified = new Date()
  #bytes = Buffer.alloc(0)
  #changes = 0
  static #files = 0
  readonly #number: number = MemoryFile.#files++

  get version(): string {
    return `${this.#number}-${this.#changes}`
  }

  write(chunk: Uint8Array, at: number): void {
    const size = Math.max(this.size, at + chunk.byteLength)
    if (size > this.#bytes.byteLength) {
      const grown = Buffer.alloc(Math.max(size, this.#bytes.byteLength * 2))
      this.#bytes.copy(grown, 0, 0, this.size)
      this.#bytes = grown
    }
    this.#bytes.set(chunk, at)
    this.size = size
    this.touch()
  }

  truncate(): void {
    this.#bytes = Buffer.alloc(0)
    this.size = 0
    this.touch()
  }

  slice(start: number, end: number): Buffer {
    return this.#bytes.subarray(start, Math.min(end, this.size))
  }

  touch(): void {
    this.modified = new Date()
    this.#changes++
  }
}

class InMemoryDriver implements StorageDriver {
  readonly name = 'inmemory'
  readonly #root = new Folder()

  async stat(path: DriverPath): Promise<FileStat> {
    checkPath(path)
    const node = this.#get(path)
    if (node instanceof Folder) return { kind: 'directory', size: 0, modified: new Date(0), version: node.version }
    return { kind: 'file', size: node.size, modified: node.modified, version: node.version }
  }

  async read(path: DriverPath, limit: number): Promise<Buffer> {
    checkPath(path)
    const file = this.#file(path)
    if (file.size > limit) throw new DriverError('EFBIG', `${path} is larger than ${limit} bytes`)
    return Buffer.from(file.slice(0, file.size))
  }

  async open(path: DriverPath, range?: FileRange): Promise<OpenFile> {
    checkPath(path)
    const file = this.#file(path)
    return new MemoryStream(file, path, range?.start ?? 0, range?.end ?? file.size)
  }

  async write(path: DriverPath, bytes: Uint8Array): Promise<void> {
    checkPathBelowRoot(path)
    const file = new MemoryFile()
    file.write(bytes, 0)
    this.#put(path, file)
  }

  async writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter> {
    checkPathBelowRoot(path)
    const { folder, name } = this.#makeParent(path)
    const file = folder.get(name) ?? new MemoryFile()
    if (file instanceof Folder) throw notFile(path)
    if (options?.append !== true) file.truncate()
    else if (options.touch === true) file.touch()
    folder.set(name, file)
    return new MemoryWriter(file, path)
  }

  async move(from: DriverPath, to: DriverPath): Promise<void> {
    checkPathBelowRoot(from)
    checkPathBelowRoot(to)
    const file = this.#file(from)
    this.#put(to, file)
    if (from !== to) this.#parent(from).delete(nameOf(from))
  }

  async remove(path: DriverPath, options?: RemoveOptions): Promise<void> {
    checkPathBelowRoot(path)
    const node = this.#get(path)
    if (options?.ifEmpty === true && node instanceof Folder && node.size > 0) {
      throw new DriverError('ENOTEMPTY', `there is something in ${path}`)
    }
    this.#parent(path).delete(nameOf(path))
  }

  async list(path: DriverPath): Promise<string[]> {
    checkPath(path)
    const node = this.#get(path)
    if (!(node instanceof Folder)) throw new PathNotFoundError(path)
    return [...node.keys()].toSorted((a, b) => (a < b ? -1 : 1))
  }

  #get(path: DriverPath): MemoryFile | Folder {
    let node: MemoryFile | Folder | undefined = this.#root
    for (const name of componentsOf(path)) node = node instanceof Folder ? node.get(name) : undefined
    if (node === undefined) throw new PathNotFoundError(path)
    return node
  }

  #file(path: DriverPath): MemoryFile {
    const node = this.#get(path)
    if (node instanceof Folder) throw notFile(path)
    return node
  }

  #parent(path: DriverPath): Folder {
    const node = this.#get(path.slice(0, path.lastIndexOf('/')))
    if (!(node instanceof Folder)) throw new PathNotFoundError(path)
    return node
  }

  #put(path: DriverPath, file: MemoryFile): void {
    const { folder, name } = this.#makeParent(path)
    if (folder.get(name) instanceof Folder) throw notFile(path)
    folder.set(name, file)
  }

  #makeParent(path: DriverPath): { folder: Folder; name: string } {
    let folder = this.#root
    for (const name of componentsOf(path).slice(0, -1)) {
      const child = folder.get(name) ?? new Folder()
      if (child instanceof MemoryFile) throw new DriverError('ENOTDIR', `a part of ${path} is a file`)
      folder.set(name, child)
      folder = child
    }
    return { folder, name: nameOf(path) }
  }
}

function componentsOf(path: DriverPath): string[] {
  return path.split('/').filter((name) => name !== '')
}

function nameOf(path: DriverPath): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function notFile(path: DriverPath): DriverError {
  return new DriverError('ENOTFILE', `there is something else than a file at ${path}`)
}

class MemoryStream implements OpenFile {
  readonly size: number
  readonly version: string
  readonly #file: MemoryFile
  readonly #path: DriverPath
  readonly #end: number
  readonly #chunks: AsyncGenerator<Uint8Array, void>
  #at: number

  constructor(file: MemoryFile, path: DriverPath, start: number, end: number) {
    this.size = file.size
    this.version = file.version
    this.#file = file
    this.#path = path
    this.#at = start
    this.#end = end
    this.#chunks = this.#read()
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    return this.#chunks
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return()
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    while (this.#at < this.#end) {
      const chunk = this.#file.slice(this.#at, Math.min(this.#at + chunkSize, this.#end))
      if (chunk.byteLength === 0) throw new DriverError('ESHORT', `${this.#path} ends too early`)
      this.#at += chunk.byteLength
      yield chunk
    }
  }
}

class MemoryWriter implements FileWriter {
  readonly #file: MemoryFile
  readonly #path: DriverPath
  #size: number
  #isClosed = false

  constructor(file: MemoryFile, path: DriverPath) {
    this.#file = file
    this.#path = path
    this.#size = file.size
  }

  get size(): number {
    return this.#size
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#checkOpen()
    this.#file.write(chunk, this.#size)
    this.#size += chunk.byteLength
  }

  async sync(): Promise<void> {
    this.#checkOpen()
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new Error(`the writer of ${this.#path} is closed`)
  }
}

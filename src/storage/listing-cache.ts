// What large folders hold, remembered: a page of a list costs what is on the page, not what is in the folder.
import { LRUCache } from 'lru-cache'
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
} from '../drivers/driver.ts'
import { manifestsFolder, repositoriesRoot } from './layout.ts'

/** Folders with fewer names are read each time: that costs no more than to ask whether they have changed. */
const least = 256

/** Bytes that the names of all folders may take, with what a string costs besides its letters. */
const budget = 32 * 1024 * 1024
const overhead = 40

interface Listing {
  /** Of the folder before it was read. */
  readonly version: string | undefined
  readonly names: readonly string[]
}

/** All that is known is that the folder is large. */
const unread: Listing = { version: undefined, names: [] }

interface Reading {
  readonly version: string
  readonly names: Promise<readonly string[]>
  isOutdated: boolean
}

/**
 * A driver whose `list` remembers large folders for as long as their version is the same. What was written through it
 * shows at once; what another process writes shows by the folder's version.
 */
export class ListingCache implements StorageDriver {
  readonly name: string
  readonly #driver: StorageDriver
  readonly #listings = new LRUCache<DriverPath, Listing>({
    maxSize: budget,
    sizeCalculation: ({ names }) => names.reduce((sum, name) => sum + name.length + overhead, overhead),
  })
  readonly #probes = new Map<DriverPath, Promise<readonly string[]>>()
  readonly #readings = new Map<DriverPath, Reading>()

  constructor(driver: StorageDriver) {
    this.name = driver.name
    this.#driver = driver
  }

  async list(path: DriverPath): Promise<readonly string[]> {
    const isExpected = this.#mayBeLarge(path)
    if (!isExpected && !this.#listings.has(path)) {
      const probe = this.#probes.get(path)
      if (probe !== undefined) await probe.catch(() => {}) // it shows whether the folder is large, no more
    }
    if (!isExpected && !this.#listings.has(path)) return await this.#probe(path)
    const stat = await this.#statFolder(path)
    if (stat === undefined) return await this.#driver.list(path)
    const { version, modified } = stat
    const known = this.#listings.get(path)
    if (known?.version === version) return known.names
    return await this.#read(path, version, isSettled(modified))
  }

  async stat(path: DriverPath): Promise<FileStat> {
    return await this.#driver.stat(path)
  }

  async read(path: DriverPath, limit: number): Promise<Buffer> {
    return await this.#driver.read(path, limit)
  }

  async open(path: DriverPath, range?: FileRange): Promise<OpenFile> {
    return await this.#driver.open(path, range)
  }

  async write(path: DriverPath, bytes: Uint8Array): Promise<void> {
    try {
      await this.#driver.write(path, bytes)
    } finally {
      this.#forgetAbove(path)
    }
  }

  async writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter> {
    try {
      return await this.#driver.writer(path, options)
    } finally {
      this.#forgetAbove(path)
    }
  }

  async move(from: DriverPath, to: DriverPath): Promise<void> {
    try {
      await this.#driver.move(from, to)
    } finally {
      this.#forgetAbove(from)
      this.#forgetAbove(to)
    }
  }

  async remove(path: DriverPath, options?: RemoveOptions): Promise<void> {
    try {
      await this.#driver.remove(path, options)
    } finally {
      this.#forgetAbove(path)
    }
  }

  /**
   * Whether it is worth to ask a folder for its version before it is read for the first time, so that one read of it is
   * enough: tags, and repositories, but for those of a large folder, which are too many to be asked and hold little.
   */
  #mayBeLarge(path: DriverPath): boolean {
    if (path === repositoriesRoot || path.endsWith(`/${manifestsFolder}/tags`)) return true
    const isRepository = path.startsWith(`${repositoriesRoot}/`) && !path.includes('/_')
    return isRepository && !this.#listings.has(path.slice(0, path.lastIndexOf('/')))
  }

  /** `undefined` where there is a link, maybe to a folder: its version says nothing of what is in there. */
  async #statFolder(path: DriverPath): Promise<FileStat | undefined> {
    try {
      return await this.#driver.stat(path)
    } catch (error) {
      if (error instanceof DriverError && error.code === 'ENOTFILE') return undefined
      throw error
    }
  }

  /** Reads a folder of which nothing is known; its names are not remembered, as nobody knows of which version they are. */
  async #probe(path: DriverPath): Promise<readonly string[]> {
    const probe = this.#driver.list(path)
    this.#probes.set(path, probe)
    try {
      const names = await probe
      if (names.length >= least) this.#listings.set(path, unread)
      return names
    } finally {
      if (this.#probes.get(path) === probe) this.#probes.delete(path)
    }
  }

  /** Reads a folder that may be large, once for all who ask while its version is the same. */
  async #read(path: DriverPath, version: string, isSettledNow: boolean): Promise<readonly string[]> {
    const running = this.#readings.get(path)
    if (running?.version === version) return await running.names
    const reading: Reading = { version, names: this.#driver.list(path), isOutdated: false }
    if (isSettledNow) this.#readings.set(path, reading)
    try {
      const names = await reading.names
      if (names.length < least) {
        this.#listings.delete(path)
        return names
      }
      const isKept = isSettledNow && !reading.isOutdated
      this.#listings.set(path, isKept ? { version, names } : unread)
      if (!this.#listings.has(path)) this.#listings.set(path, unread) // there is no room for so many
      return names
    } catch (error) {
      this.#listings.delete(path)
      throw error
    } finally {
      if (this.#readings.get(path) === reading) this.#readings.delete(path)
    }
  }

  /** A write may have made, or taken a name from, any of the folders above. */
  #forgetAbove(path: DriverPath): void {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end)
      const reading = this.#readings.get(folder)
      if (reading !== undefined) {
        reading.isOutdated = true
        this.#readings.delete(folder)
      }
      if (this.#listings.peek(folder)?.version !== undefined) {
        this.#listings.set(folder, unread)
      }
    }
  }
}

/**
 * Whether a folder's next change is sure to have another time. The clock of a file system ticks every few milliseconds;
 * a time without a fraction may be one of those that tick every second, or every two.
 */
function isSettled(modified: Date): boolean {
  const time = modified.getTime()
  return Date.now() - time > (time % 1000 === 0 ? 2500 : 50)
}

/** Where in sorted names those begin that are not before `name`. */
export function indexOf(names: readonly string[], name: string): number {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((names[middle] ?? '') < name) low = middle + 1
    else high = middle
  }
  return low
}

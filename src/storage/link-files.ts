// Small files that hold a digest: what grants access, and what tags are made of.
import { KeyedLock } from '../async/lock.ts'
import { recent } from '../cache/recent.ts'
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { ifReadable } from '../registry/unreadable-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import { unreadable } from './unreadable.ts'

/** More than any digest is long: a larger file is no link. */
const maxLinkSize = 256

/**
 * How long a link counts as just written, in milliseconds. A collection of garbage leaves younger links than its grace
 * alone, and that is several times this: whoever is told that something is here has that long to name it.
 */
export const youth: number = 15 * 60_000

/**
 * How long a link that was seen on storage is believed to be there, in milliseconds: so long another process may have
 * removed it before we notice.
 */
export const trust: number = 500

/** Links that are remembered to have been seen, or written; the least used one that is forgotten costs a stat, or a write. */
const maxSeen = 20_000

export interface LinkFilesOptions {
  readonly driver: StorageDriver
  readonly logger: Logger
  /** A clock that is never set back, in milliseconds. */
  readonly now?: (() => number) | undefined
}

export class LinkFiles {
  readonly #driver: StorageDriver
  readonly #logger: Logger
  /** A clock that is never set back, in milliseconds. */
  readonly now: () => number
  /** A link that is removed while another request makes it young must not come back; nor does one count half written. */
  readonly #lock = new KeyedLock()
  readonly #folders = new KeyedLock()
  /** When each link was last seen, and what it said. */
  readonly #seen = recent<DriverPath, { readonly target: Digest; readonly at: number }>(maxSeen)
  /** Links that this process has written: a young one of another may show before it is durable, and its writer be dead. */
  readonly #written = recent<DriverPath, true>(maxSeen)
  /** Of links, by this process: whoever reads one meanwhile may not believe what it saw. */
  #changes = 0
  /** Whether it was said that links cannot be renewed. */
  #isStuck = false

  constructor(options: LinkFilesOptions) {
    this.#driver = options.driver
    this.#logger = options.logger
    this.now = options.now ?? (() => performance.now())
  }

  /** Whether there is a link that says so, or was a moment ago: `trust`. */
  async has(path: DriverPath, target: Digest): Promise<boolean> {
    return (await this.recent(path)) === target
  }

  /** What the link says, or said a moment ago: `trust`. @throws UnreadableError */
  async recent(path: DriverPath): Promise<Digest | undefined> {
    const now = this.now()
    const seen = this.#seen.get(path)
    if (seen !== undefined && now - seen.at < trust) return seen.target
    const changes = this.#changes
    const target = await this.read(path)
    if (target !== undefined && changes === this.#changes) this.#seen.set(path, { target, at: now })
    return target
  }

  /**
   * What the link says; `undefined` where there is none. A damaged one counts as none, so that it is written anew: an
   * older registry that is killed while it writes leaves an empty file.
   * @throws UnreadableError
   */
  async read(path: DriverPath): Promise<Digest | undefined> {
    const text = await this.#text(path)
    if (text === undefined || isDigest(text)) return text
    this.#logger.warn({ path, text: text.slice(0, 100) }, 'damaged link ignored')
    return undefined
  }

  /**
   * A link that says so already is young and durable afterwards; one that cannot be read is replaced. `onDone` is called
   * before anything else happens to that path.
   */
  async write(path: DriverPath, target: Digest, onDone?: () => void): Promise<void> {
    await this.#lock.run(path, async () => {
      const text = await ifReadable(this.#text(path))
      if (text !== target || !(await this.#isSettled(path))) {
        if (text === 'ENOTFILE') await this.#driver.remove(path)
        await this.#write(path, target)
      }
      onDone?.()
    })
  }

  /** Does something to several links below a folder with nobody of this process at the same folder. */
  async alone<T>(folder: DriverPath, task: () => Promise<T>): Promise<T> {
    return await this.#folders.run(folder, task)
  }

  /**
   * Makes a link young and durable, if it is one and can be written, and says what `read` does. `onFound` is called with
   * what it says before anything else happens to that path.
   */
  async renew(path: DriverPath, onFound?: (target: Digest) => void): Promise<Digest | undefined> {
    return await this.#lock.run(path, async () => {
      const target = await this.read(path)
      if (target !== undefined && !(await this.#isSettled(path))) await this.#writeIfPossible(path, target)
      if (target !== undefined) onFound?.(target)
      return target
    })
  }

  /** Whether there was anything to remove. `onDone` is called before anything else happens to that path. */
  async remove(path: DriverPath, onDone?: () => void | Promise<void>): Promise<boolean> {
    try {
      await this.#lock.run(path, async () => {
        await this.#driver.remove(path)
        await onDone?.()
      })
      return true
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      throw error
    } finally {
      this.#forget(path)
      this.#written.delete(path)
    }
  }

  async #write(path: DriverPath, target: Digest): Promise<void> {
    try {
      await this.#driver.write(path, Buffer.from(target))
      this.#written.set(path, true)
    } finally {
      this.#forget(path)
    }
  }

  /** Whoever saw it a moment ago is not believed. */
  #forget(path: DriverPath): void {
    this.#changes++
    this.#seen.delete(path)
  }

  /** What is here is served, also where nothing can be stored: it is no more than likelier to be collected. */
  async #writeIfPossible(path: DriverPath, target: Digest): Promise<void> {
    try {
      await this.#write(path, target)
      this.#isStuck = false
    } catch (error) {
      if (!(error instanceof DriverError)) throw error
      if (!this.#isStuck) this.#logger.warn({ path, error }, 'links cannot be renewed')
      this.#isStuck = true
    }
  }

  /** Whether a link that says what it should can stay as it is: it is durable, and young. */
  async #isSettled(path: DriverPath): Promise<boolean> {
    if (!this.#written.has(path)) return false
    try {
      return (await this.#driver.stat(path)).modified.getTime() > Date.now() - youth
    } catch (error) {
      if (error instanceof PathNotFoundError) return false // taken away since it was read
      throw error
    }
  }

  async #text(path: DriverPath): Promise<string | undefined> {
    try {
      return (await this.#driver.read(path, maxLinkSize)).toString('utf8')
    } catch (error) {
      if (error instanceof PathNotFoundError) return undefined
      if (error instanceof DriverError && (error.code === 'EFBIG' || error.code === 'ENOTFILE')) return error.code
      throw unreadable(path, error)
    }
  }
}

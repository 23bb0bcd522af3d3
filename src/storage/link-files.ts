// Small files that hold a digest: what grants access, and what tags are made of.
import { KeyedLock } from '../async/lock.ts'
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import type { Logger } from '../telemetry/logger.ts'

/** More than any digest is long: a larger file is no link. */
const maxLinkSize = 256

/**
 * How long a link counts as just written, in milliseconds. A collection of garbage leaves younger links than its grace
 * alone, and that is several times this: whoever is told that something is here has that long to name it.
 */
export const youth: number = 15 * 60_000

export interface LinkFilesOptions {
  readonly driver: StorageDriver
  readonly logger: Logger
}

export class LinkFiles {
  readonly #driver: StorageDriver
  readonly #logger: Logger
  /** A link that is removed while another request makes it young must not come back. */
  readonly #lock = new KeyedLock()

  constructor(options: LinkFilesOptions) {
    this.#driver = options.driver
    this.#logger = options.logger
  }

  /**
   * What the link says; `undefined` where there is none. A damaged one counts as none, so that it is written anew: an
   * older registry that is killed while it writes leaves an empty file.
   */
  async read(path: DriverPath): Promise<Digest | undefined> {
    const text = await this.#text(path)
    if (text === undefined || isDigest(text)) return text
    this.#logger.warn({ path, text: text.slice(0, 100) }, 'damaged link ignored')
    return undefined
  }

  /** A link that says so already is young afterwards. */
  async write(path: DriverPath, target: Digest): Promise<void> {
    const text = await this.#text(path)
    if (text === target && (await this.#isYoung(path))) return
    if (text === 'ENOTFILE') await this.#driver.remove(path)
    await this.#driver.write(path, Buffer.from(target))
  }

  /** Makes a link young, if it is one, and says what `read` does. */
  async renew(path: DriverPath): Promise<Digest | undefined> {
    return await this.#lock.run(path, async () => {
      const target = await this.read(path)
      if (target !== undefined && !(await this.#isYoung(path))) await this.#driver.write(path, Buffer.from(target))
      return target
    })
  }

  /** Whether there was anything to remove. */
  async remove(path: DriverPath): Promise<boolean> {
    try {
      await this.#lock.run(path, async () => await this.#driver.remove(path))
      return true
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      throw error
    }
  }

  async #isYoung(path: DriverPath): Promise<boolean> {
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
      throw error
    }
  }
}

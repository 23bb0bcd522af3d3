// The files that blobs lie in: one for each sha256, put in its place and taken out of it whole. In this process one thing
// at a time happens to a place.
import { KeyedLock } from '../async/lock.ts'
import { recent } from '../cache/recent.ts'
import {
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type FileStat,
  type StorageDriver,
} from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import { moveDamaged } from './damaged.ts'
import { blobFolder, blobPath } from './layout.ts'
import { unreadable } from './unreadable.ts'

export class BlobFiles {
  readonly #driver: StorageDriver
  readonly #lock = new KeyedLock()
  /** Blobs that this process has put in their places: another's may show before it is durable, and its writer be dead. */
  readonly #written = recent<Digest, true>(20_000)

  constructor(driver: StorageDriver) {
    this.#driver = driver
  }

  /** @throws UnreadableError */
  async stat(target: Digest): Promise<FileStat | { readonly kind: 'other' } | undefined> {
    try {
      return await this.#driver.stat(blobPath(target))
    } catch (error) {
      if (error instanceof PathNotFoundError) return undefined
      if (error instanceof DriverError && error.code === 'ENOTFILE') return { kind: 'other' }
      throw unreadable(target, error)
    }
  }

  /** Durable when this resolves. What this process has put there is kept if it is the same, byte for byte. */
  async put(target: Digest, bytes: Uint8Array): Promise<void> {
    const place = blobPath(target)
    await this.#lock.run(target, async () => {
      const isThere = await this.#holds(place, bytes)
      if (isThere && this.#written.has(target)) return
      await this.#driver.write(place, bytes)
      this.#written.set(target, true)
    })
  }

  /**
   * Moves a file of so many bytes into a blob's place, over whatever is there.
   * @returns the version of the file in its place
   * @throws PathNotFoundError where there is no such file, of that size
   */
  async moveIn(path: DriverPath, target: Digest, size: number): Promise<string> {
    const place = blobPath(target)
    return await this.#lock.run(target, async () => {
      if ((await this.#driver.stat(path)).size !== size) throw new PathNotFoundError(path) // begun anew by another request
      await this.#driver.move(path, place)
      return (await this.#driver.stat(place)).version
    })
  }

  /** Takes away what is there and is no file. */
  async clear(target: Digest): Promise<void> {
    await this.#driver.remove(blobPath(target))
  }

  /** Moves the file away whose bytes are wrong. Whether it was still there. */
  async setAside(target: Digest, version: string): Promise<boolean> {
    return await this.#lock.run(target, async () => await moveDamaged(this.#driver, target, version))
  }

  /**
   * Removes a file with its folder: an empty one for each blob that ever was would fill a disk, too.
   * @returns bytes that it had; `undefined` where it was gone already
   */
  async remove(target: Digest): Promise<number | undefined> {
    return await this.#lock.run(target, async () => {
      try {
        const stat = await this.stat(target)
        await this.#driver.remove(blobFolder(target))
        return stat?.kind === 'file' ? stat.size : 0
      } catch (error) {
        if (!(error instanceof PathNotFoundError)) throw error
        return undefined
      }
    })
  }

  async #holds(place: DriverPath, bytes: Uint8Array): Promise<boolean> {
    try {
      return (await this.#driver.read(place, bytes.byteLength)).equals(bytes)
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      if (!(error instanceof DriverError)) throw error
      if (error.code === 'ENOTFILE') await this.#driver.remove(place)
      return false
    }
  }
}

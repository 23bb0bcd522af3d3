// Where a blob's file goes whose bytes were found wrong.
import { PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import { blobPath, damagedPath } from './layout.ts'

/** Moves the file with that version away, so that the blob is fetched or pushed anew. Whether it was still there. */
export async function moveDamaged(driver: StorageDriver, digest: Digest, version: string): Promise<boolean> {
  const place = blobPath(digest)
  try {
    if ((await driver.stat(place)).version !== version) return false // it was replaced while it was read
    await driver.move(place, damagedPath(digest))
    return true
  } catch (error) {
    if (error instanceof PathNotFoundError) return false
    throw error
  }
}

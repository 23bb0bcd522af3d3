// Letting go of the other digests by which blobs were known that are gone. It is our own state: a blob that comes again by
// such a digest is known by it again.
import type { LimitFunction } from 'p-limit'
import { DriverError, PathNotFoundError, type StorageDriver } from '../../drivers/driver.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { aliasesRoot, aliasFolder, aliasPath, blobPath } from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import { namesIn } from '../links.ts'
import { each } from './each.ts'

export interface SweepAliasesOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly limit: LimitFunction
  /** Files that were written at that time or later stay. */
  readonly cutoff: number
  readonly signal: AbortSignal | undefined
}

export async function sweepAliases(options: SweepAliasesOptions): Promise<void> {
  const { driver, limit, signal } = options
  for (const algorithm of await namesIn(driver, aliasesRoot)) {
    for (const shard of await namesIn(driver, `${aliasesRoot}/${algorithm}`)) {
      signal?.throwIfAborted()
      const digests = (await namesIn(driver, `${aliasesRoot}/${algorithm}/${shard}`))
        .map((hex) => `${algorithm}:${hex}`)
        .filter((text): text is Digest => isDigest(text))
      await each(digests, limit, async (digest) => await sweep(digest, options))
    }
  }
}

async function sweep(digest: Digest, { driver, files, cutoff }: SweepAliasesOptions): Promise<void> {
  const path = aliasPath(digest)
  try {
    if ((await driver.stat(path)).modified.getTime() >= cutoff) return
    const target = await files.read(path)
    if (target !== undefined && (await isStored(driver, target))) return
    await driver.remove(path)
    await driver.remove(aliasFolder(digest), { ifEmpty: true })
  } catch (error) {
    const isKnownAgain = error instanceof DriverError && error.code === 'ENOTEMPTY'
    if (!isKnownAgain && !(error instanceof PathNotFoundError)) throw error
  }
}

async function isStored(driver: StorageDriver, target: Digest): Promise<boolean> {
  try {
    return (await driver.stat(blobPath(target))).kind === 'file'
  } catch (error) {
    if (error instanceof PathNotFoundError) return false
    throw error
  }
}

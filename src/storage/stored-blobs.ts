// All blobs that lie in the tree, in the order of their digests.
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { hexOf, isDigest, type Digest } from '../oci/digest.ts'
import { blobsRoot } from './layout.ts'

export interface BlobWalkOptions {
  /** Start behind this one, which need not be there. */
  readonly after?: Digest | undefined
  /** Takes a folder that could not be read; the walk goes on. */
  readonly onFailure: (path: DriverPath, error: unknown) => void
  readonly signal?: AbortSignal | undefined
}

const root: DriverPath = `${blobsRoot}/sha256`

/** A folder of each is all that is looked for: a collection of garbage leaves some behind that are empty. */
export async function* walkBlobs(driver: StorageDriver, options: BlobWalkOptions): AsyncGenerator<Digest, void> {
  const { after, onFailure, signal } = options
  const shardAfter = after === undefined ? '' : hexOf(after).slice(0, 2)
  for (const shard of await namesOf(driver, root, onFailure)) {
    signal?.throwIfAborted()
    if (shard < shardAfter) continue
    for (const hex of await namesOf(driver, `${root}/${shard}`, onFailure)) {
      const digest = `sha256:${hex}`
      if (isDigest(digest) && hex.startsWith(shard) && (after === undefined || digest > after)) yield digest
    }
  }
}

async function namesOf(
  driver: StorageDriver,
  path: DriverPath,
  onFailure: BlobWalkOptions['onFailure'],
): Promise<readonly string[]> {
  try {
    return await driver.list(path)
  } catch (error) {
    if (!(error instanceof PathNotFoundError)) onFailure(path, error) // nothing is stored yet, or a file of somebody's
    return []
  }
}

// Taking away the bytes that no repository needs.
import type { LimitFunction } from 'p-limit'
import type { DescriptorCache } from '../../cache/descriptors.ts'
import { DriverError, PathNotFoundError, type FileStat, type StorageDriver } from '../../drivers/driver.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { blobPath, blobsRoot, linkPath, linksFolder, linksRoot, manifestsFolder, type LinkKind } from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import { namesIn } from '../links.ts'
import { walkRepositoryFolders, type RepositoryFolder } from '../repository-folders.ts'
import type { DigestSet } from './digest-set.ts'
import { each } from './each.ts'
import { SetAside } from './set-aside.ts'

/** Blobs that are out of their place together, while the links of every repository are looked at once more. */
const batchSize = 4096

export interface SweepBlobsOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly descriptors: DescriptorCache
  readonly limit: LimitFunction
  /** The sha256 of everything that is needed. */
  readonly live: DigestSet
  /** Files that were written at that time or later stay. */
  readonly cutoff: number
  /** Says what would go, and touches nothing. */
  readonly dryRun: boolean
  readonly onBlob: (blob: SeenBlob) => void
  readonly signal: AbortSignal | undefined
}

export interface SeenBlob {
  readonly size: number
  readonly fate: 'needed' | 'young' | 'removed' | 'spared'
}

interface Candidate {
  readonly digest: Digest
  readonly size: number
  readonly modified: number
}

/** @throws what the driver does: whatever was out of its place is back then */
export async function sweepBlobs(options: SweepBlobsOptions): Promise<void> {
  const { driver, dryRun, onBlob, signal } = options
  let batch: Candidate[] = []
  const flush = async (): Promise<void> => {
    if (dryRun) for (const { size } of batch) onBlob({ size, fate: 'removed' })
    else if (batch.length > 0) await removeBlobs(batch, options)
    batch = []
  }
  for (const shard of await namesIn(driver, `${blobsRoot}/sha256`)) {
    signal?.throwIfAborted()
    const digests = (await namesIn(driver, `${blobsRoot}/sha256/${shard}`))
      .map((hex) => `sha256:${hex}`)
      .filter((text): text is Digest => isDigest(text))
    const found = await each(digests, options.limit, async (digest) => await findCandidate(digest, options))
    batch.push(...found.filter((candidate) => candidate !== undefined))
    if (batch.length >= batchSize) await flush()
  }
  await flush()
}

async function findCandidate(digest: Digest, options: SweepBlobsOptions): Promise<Candidate | undefined> {
  const { live, cutoff, onBlob } = options
  const stat = await statBlob(digest, options)
  if (stat?.kind !== 'file') return undefined
  const { size } = stat
  const modified = stat.modified.getTime()
  const isNeeded = live.has(digest)
  if (!isNeeded && modified < cutoff) return { digest, size, modified }
  onBlob({ size, fate: isNeeded ? 'needed' : 'young' })
  return undefined
}

async function statBlob(digest: Digest, { driver }: SweepBlobsOptions): Promise<FileStat | undefined> {
  try {
    return await driver.stat(blobPath(digest))
  } catch (error) {
    if (error instanceof PathNotFoundError || (error instanceof DriverError && error.code === 'ENOTFILE')) {
      return undefined // an empty folder, or nothing of ours
    }
    throw error
  }
}

/**
 * Moved away, then links looked for, then removed. Whoever links a blob looks for its bytes afterwards: either we see
 * that link here, or its writer sees that the bytes are gone.
 */
async function removeBlobs(batch: readonly Candidate[], options: SweepBlobsOptions): Promise<void> {
  const { driver, descriptors, onBlob } = options
  await using aside = await SetAside.begin(
    driver,
    batch.map(({ digest }) => blobPath(digest)),
  )
  const gone = new Map<Digest, number>() // with their places in the batch
  await each(batch.keys(), options.limit, async (index) => {
    const candidate = batch[index]
    const stat = await aside.take(index)
    if (candidate === undefined || stat === undefined) return
    if (stat.modified.getTime() === candidate.modified) gone.set(candidate.digest, index)
    else await aside.putBack(index) // another file has come to its place: it was pushed again
  })
  for (const digest of await linkedAmong(gone, aside, options)) {
    const index = gone.get(digest)
    if (index === undefined) continue
    await aside.putBack(index)
    gone.delete(digest)
  }
  await aside.remove()
  for (const { digest, size } of batch) {
    if (gone.has(digest)) await descriptors.clear('content', digest)
    onBlob({ size, fate: gone.has(digest) ? 'removed' : 'spared' })
  }
}

/** Which of these a repository links now. @throws where a repository cannot be read: its links may be among them */
async function linkedAmong(
  digests: ReadonlyMap<Digest, number>,
  aside: SetAside,
  options: SweepBlobsOptions,
): Promise<Set<Digest>> {
  const linked = new Set<Digest>()
  const walk = walkRepositoryFolders(options.driver, {
    signal: options.signal,
    onFailure: (_, error) => {
      throw error
    },
  })
  for await (const folder of walk) {
    await aside.keepAlive()
    for (const target of await linksTo(digests, folder, options)) linked.add(target)
  }
  return linked
}

async function linksTo(
  digests: ReadonlyMap<Digest, number>,
  { name, inside }: RepositoryFolder,
  options: SweepBlobsOptions,
): Promise<Digest[]> {
  const { driver, files } = options
  const found: Digest[] = []
  const kinds: readonly (readonly [LinkKind, folder: string])[] = [
    ['blobs', '_layers'],
    ['manifests', manifestsFolder],
  ]
  for (const [kind] of kinds.filter(([, folder]) => inside.includes(folder))) {
    for (const algorithm of await namesIn(driver, linksRoot(name, kind))) {
      const links = (await namesIn(driver, linksFolder(name, kind, algorithm)))
        .map((hex) => `${algorithm}:${hex}`)
        .filter((text): text is Digest => isDigest(text) && (algorithm !== 'sha256' || digests.has(text)))
      const targets = await each(links, options.limit, async (digest) => await files.read(linkPath(name, kind, digest)))
      found.push(...targets.filter((target) => target !== undefined))
    }
  }
  return found
}

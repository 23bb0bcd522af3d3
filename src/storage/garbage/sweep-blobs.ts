// Taking away the bytes that no repository needs.
import type { LimitFunction } from 'p-limit'
import type { DescriptorCache } from '../../cache/descriptors.ts'
import {
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type FileStat,
  type StorageDriver,
} from '../../drivers/driver.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { isStorageFull } from '../../registry/storage-full.ts'
import { blobPath, blobsRoot, linkPath, linksFolder, linksRoot, manifestsFolder, type LinkKind } from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import { namesIn } from '../links.ts'
import { walkRepositoryFolders, type RepositoryFolder } from '../repository-folders.ts'
import type { DigestSet } from './digest-set.ts'
import { each } from './each.ts'
import { SetAside } from './set-aside.ts'

/** Blobs that are out of their place together; the links of every repository are looked at for each batch. */
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
  readonly lease: SetAside | undefined
  readonly onBlob: (blob: SeenBlob) => void
  readonly signal: AbortSignal | undefined
}

export interface SeenBlob {
  readonly digest: Digest
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
    if (dryRun) for (const { digest, size } of batch) onBlob({ digest, size, fate: 'removed' })
    else if (batch.length > 0) await removeUnlinked(batch, options)
    batch = []
  }
  for (const shard of await namesIn(driver, `${blobsRoot}/sha256`)) {
    signal?.throwIfAborted()
    const digests = (await namesIn(driver, `${blobsRoot}/sha256/${shard}`))
      .map((hex) => `sha256:${hex}`)
      .filter((text): text is Digest => isDigest(text))
    const found = await each(digests, options.limit, async (digest) => await findCandidate(digest, options))
    for (const candidate of found) if (candidate !== undefined) batch.push(candidate)
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
  onBlob({ digest, size, fate: isNeeded ? 'needed' : 'young' })
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

/** Links are looked at once before, as what a client has just linked should not go away even for a moment. */
async function removeUnlinked(batch: readonly Candidate[], options: SweepBlobsOptions): Promise<void> {
  const linked = new Set<Digest>()
  const digests = new Set(batch.map(({ digest }) => digest))
  await findLinked(digests, options, async (digest) => void linked.add(digest))
  for (const { digest, size } of batch) if (linked.has(digest)) options.onBlob({ digest, size, fate: 'spared' })
  let waiting: readonly Candidate[] = batch.filter(({ digest }) => !linked.has(digest))
  while (waiting.length > 0) waiting = await removeBlobs(waiting, options)
}

/**
 * Moved away, then links looked for, then removed. Whoever links a blob looks for its bytes afterwards: either we see
 * that link here, or its writer sees that the bytes are gone.
 * @returns those that there was no room to move; fewer than were given
 */
async function removeBlobs(batch: readonly Candidate[], options: SweepBlobsOptions): Promise<readonly Candidate[]> {
  const { driver, lease, descriptors, onBlob } = options
  await using aside = await SetAside.begin(driver, lease)
  const gone = new Set<Digest>()
  const left: Candidate[] = []
  await each(batch, options.limit, async (candidate) => {
    const path = blobPath(candidate.digest)
    try {
      const stat = await aside.take(path)
      if (stat === undefined) return
      if (stat.modified.getTime() === candidate.modified) gone.add(candidate.digest)
      else await aside.putBack(path) // another file has come to its place: it was pushed again
    } catch (error) {
      if (!isStorageFull(error)) throw error
      await aside.putBack(path)
      left.push(candidate)
      if (left.length === batch.length) throw error
    }
  })
  await findLinked(
    gone,
    options,
    async (digest) => {
      gone.delete(digest)
      await aside.putBack(blobPath(digest))
    },
    aside,
  )
  await aside.remove()
  const waiting = new Set(left)
  for (const candidate of batch.filter((one) => !waiting.has(one))) {
    const { digest, size } = candidate
    if (gone.has(digest)) await descriptors.clear('content', digest)
    onBlob({ digest, size, fate: gone.has(digest) ? 'removed' : 'spared' })
  }
  return left
}

/**
 * Takes those that a repository links now to `onLinked`, as soon as they are seen.
 * @throws where a repository cannot be read: its links may be among them
 */
async function findLinked(
  digests: ReadonlySet<Digest>,
  options: SweepBlobsOptions,
  onLinked: (digest: Digest) => Promise<void>,
  alive: SetAside | undefined = options.lease,
): Promise<void> {
  const walk = walkRepositoryFolders(options.driver, {
    signal: options.signal,
    onFailure: (_, error) => {
      throw error
    },
  })
  for await (const folder of walk) {
    await alive?.keepAlive()
    for (const links of await linksTo(digests, folder, options.driver)) {
      await each(links, options.limit, async (path) => {
        await alive?.keepAlive()
        const target = await options.files.read(path)
        if (target !== undefined && digests.has(target)) await onLinked(target)
      })
    }
  }
}

/** Links of a repository that may name one of these: by their own names, or by what is in them. */
async function linksTo(
  digests: ReadonlySet<Digest>,
  { name, inside }: RepositoryFolder,
  driver: StorageDriver,
): Promise<DriverPath[][]> {
  const found: DriverPath[][] = []
  const kinds: readonly (readonly [LinkKind, folder: string])[] = [
    ['blobs', '_layers'],
    ['manifests', manifestsFolder],
  ]
  for (const [kind] of kinds.filter(([, folder]) => inside.includes(folder))) {
    for (const algorithm of await namesIn(driver, linksRoot(name, kind))) {
      const links = (await namesIn(driver, linksFolder(name, kind, algorithm)))
        .map((hex) => `${algorithm}:${hex}`)
        .filter((text): text is Digest => isDigest(text) && (algorithm !== 'sha256' || digests.has(text)))
      found.push(links.map((digest) => linkPath(name, kind, digest)))
    }
  }
  return found
}

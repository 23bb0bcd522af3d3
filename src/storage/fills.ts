// The files of blobs that are on their way from an upstream. What is there of one that has not come to its end is bytes that
// nobody has verified, and that need not be fetched again if the digest of the whole proves them (P5).
import { randomUUID } from 'node:crypto'
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import type { ReceiveOptions } from '../registry/registry.ts'
import type { Upload } from '../registry/store.ts'
import { blobPath, fillPath, fillsFolder, parseFillPath } from './layout.ts'
import { namesIn } from './links.ts'
import { isDead, owner } from '../drivers/process-owner.ts'
import { isUploadId, StoredUpload, type UploadPlace, type UploadRoom } from './upload.ts'

/** Stands in a file's name where nobody is filling it. */
const keptOwner = 'kept'

/** As `ContentStore.receive`. */
export async function receiveFill(
  room: UploadRoom,
  { digest, digester, isFresh, signal }: ReceiveOptions,
  store: Pick<UploadPlace, 'publish' | 'claim' | 'reveal'>,
): Promise<Upload> {
  signal?.throwIfAborted()
  const id = randomUUID()
  if (!isUploadId(id)) throw new Error('not a UUID')
  const path = fillPath(digest, owner, id)
  if (isFresh !== true) await claimLeftovers(room, digest, path)
  const kept = fillPath(digest, keptOwner, id)
  try {
    const place = { ...store, id, path, folder: path, kept, digester, startedAt: new Date() }
    return await StoredUpload.open(place, room)
  } catch (error) {
    await room.driver.remove(path).catch(() => {}) // not made yet, or left to the sweep
    throw error
  }
}

/** A file that belongs to no living process. */
interface Leftover {
  readonly path: DriverPath
  readonly digest: Digest
}

/** Files of living processes are theirs. */
function leftoversAmong(paths: readonly DriverPath[], open: ReadonlySet<DriverPath>): Leftover[] {
  return paths.flatMap((path) => {
    const { digest, whose } = parseFillPath(path) ?? {}
    if (digest === undefined || whose === undefined || open.has(path)) return []
    return whose === keptOwner || isDead(whose) ? [{ path, digest }] : []
  })
}

/** Moves the largest file that is left of a blob to `path`. */
async function claimLeftovers({ driver, open }: UploadRoom, digest: Digest, path: DriverPath): Promise<void> {
  const paths = (await namesIn(driver, fillsFolder)).map((name) => `${fillsFolder}/${name}`)
  let best: { readonly path: DriverPath; readonly size: number } | undefined
  for (const { path: candidate, digest: other } of leftoversAmong(paths, open)) {
    if (other !== digest) continue
    try {
      const { kind, size } = await driver.stat(candidate)
      if (kind === 'file' && size > (best?.size ?? 0)) best = { path: candidate, size }
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error // another took it
    }
  }
  if (best === undefined) return
  try {
    await driver.move(best.path, path)
  } catch (error) {
    if (!(error instanceof PathNotFoundError)) throw error
  }
}

export interface UselessOptions {
  /** Where to look. */
  readonly paths: readonly DriverPath[]
  /** Files that are open here. */
  readonly open: ReadonlySet<DriverPath>
  /** Bytes of leftovers that may wait for their fill. */
  readonly limit: number
}

/**
 * Which leftovers are of no use to any fill to come: those that are empty or cannot be read, those of a blob that is here,
 * all but the largest of one blob, and of the others the oldest, until the rest have no more than `limit` bytes.
 */
export async function findUseless(
  driver: StorageDriver,
  { paths, open, limit }: UselessOptions,
): Promise<ReadonlySet<DriverPath>> {
  const useless = new Set<DriverPath>()
  const best = new Map<Digest, { readonly path: DriverPath; readonly size: number; readonly modified: Date }>()
  for (const { path, digest } of leftoversAmong(paths, open)) {
    const found = await lookAt(driver, path)
    if (found === undefined) continue
    const other = best.get(digest)
    if (!found.isReadable || found.size === 0 || found.size <= (other?.size ?? 0)) {
      useless.add(path)
      continue
    }
    if (other !== undefined) useless.add(other.path)
    best.set(digest, { path, ...found })
  }
  let bytes = 0
  for (const [digest, { path, size }] of [...best].toSorted(
    ([, a], [, b]) => Number(b.modified) - Number(a.modified),
  )) {
    if (bytes + size > limit || (await isHere(driver, digest))) useless.add(path)
    else bytes += size
  }
  return useless
}

interface Looked {
  readonly size: number
  readonly modified: Date
  readonly isReadable: boolean
}

/** Nothing of what is no file or cannot be looked at: whoever sweeps by age comes upon it, too. */
async function lookAt(driver: StorageDriver, path: DriverPath): Promise<Looked | undefined> {
  try {
    const { kind, size, modified } = await driver.stat(path)
    return kind === 'file' ? { size, modified, isReadable: await isReadable(driver, path) } : undefined
  } catch {
    return undefined
  }
}

async function isReadable(driver: StorageDriver, path: DriverPath): Promise<boolean> {
  try {
    await using _ = await driver.open(path)
    return true
  } catch {
    return false // that is the answer
  }
}

async function isHere(driver: StorageDriver, digest: Digest): Promise<boolean> {
  try {
    return (await driver.stat(blobPath(digest))).kind === 'file'
  } catch {
    return false // nor is a blob that cannot be looked at
  }
}

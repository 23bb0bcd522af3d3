// The files of blobs that are on their way from an upstream. What is there of one that has not come to its end is bytes that
// nobody has verified, and that need not be fetched again if the digest of the whole proves them (P5).
import { randomUUID } from 'node:crypto'
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import type { ReceiveOptions } from '../registry/registry.ts'
import type { Upload } from '../registry/store.ts'
import { blobPath, fillPath, fillsFolder, parseFillPath } from './layout.ts'
import { namesIn } from './links.ts'
import { isDead, owner } from '../drivers/process-owner.ts'
import { isUploadId, StoredUpload, type UploadPlace, type UploadRoom } from './upload.ts'

/** Stands in a file's name where nobody is filling it. */
const keptOwner = 'kept'

/**
 * Whose process may be alive is only copied from, and only what nothing has been written to for so long, in milliseconds: who
 * still gets bytes is nobody to wait for.
 */
const quiet = 5000

/** Fewer bytes, beyond what can be had without a copy, are fetched as soon as they are copied. */
const worthCopying: number = 1024 * 1024

/** Milliseconds for which a client may wait for a copy; what has been copied by then is as good. */
const longestCopy = 2000

/** Files of one blob that may lie there beside a copy: who is killed over it again and again is not to fill the disk. */
const mostBeside = 2

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
  const kept = fillPath(digest, keptOwner, id)
  room.open.add(path) // at once: what is claimed may be old
  try {
    if (isFresh !== true) await claimLeftovers(room, { digest, path, signal })
    const place = { ...store, id, path, folder: path, kept, digester, startedAt: new Date() }
    return await StoredUpload.open(place, room)
  } catch (error) {
    room.open.delete(path)
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
    return isNobodys(whose) ? [{ path, digest }] : []
  })
}

function isNobodys(whose: string): boolean {
  return whose === keptOwner || isDead(whose)
}

interface Claim {
  readonly digest: Digest
  /** Where the bytes shall be. */
  readonly path: DriverPath
  readonly signal: AbortSignal | undefined
}

/** Moves the largest file that is left of a blob to `path`, or copies one that is larger and whose process may be alive. */
async function claimLeftovers(room: UploadRoom, { digest, path, signal }: Claim): Promise<void> {
  const { driver } = room
  const found = await findLeftovers(room, digest)
  const free = largest(found.filter(({ isFree }) => isFree))
  const theirs = found.filter(({ isFree }) => !isFree)
  const best = largest(theirs.filter((one) => !room.copied.has(one.path)))
  const here = free?.size ?? 0
  if (best !== undefined && best.size >= here + worthCopying && theirs.length <= mostBeside) {
    room.copied.set(best.path, true)
    if ((await copyLeftover(driver, best.path, path, signal)) > here) return
  }
  if (free === undefined) return
  try {
    await driver.move(free.path, path)
  } catch (error) {
    if (!(error instanceof PathNotFoundError)) throw error
  }
}

interface Candidate {
  readonly path: DriverPath
  readonly size: number
  /** Whether it may be moved. */
  readonly isFree: boolean
}

function largest(candidates: readonly Candidate[]): Candidate | undefined {
  return candidates.toSorted((a, b) => b.size - a.size)[0]
}

/** Files with bytes of a blob, without those that somebody is writing to. */
async function findLeftovers({ driver, open }: UploadRoom, digest: Digest): Promise<Candidate[]> {
  const found: Candidate[] = []
  for (const name of await namesIn(driver, fillsFolder)) {
    const path = `${fillsFolder}/${name}`
    const parsed = parseFillPath(path)
    if (parsed?.digest !== digest || open.has(path)) continue
    const isFree = isNobodys(parsed.whose)
    try {
      const { kind, size, modified } = await driver.stat(path)
      const isQuiet = isFree || Date.now() - modified.getTime() >= quiet
      if (kind === 'file' && size > 0 && isQuiet) found.push({ path, size, isFree })
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error // another took it
    }
  }
  return found
}

/** Resolves with the bytes of the copy. Where it cannot be read, or there is no room for it, nothing is left: 0. */
async function copyLeftover(
  driver: StorageDriver,
  from: DriverPath,
  to: DriverPath,
  signal: AbortSignal | undefined,
): Promise<number> {
  const startedAt = performance.now()
  try {
    await using target = await driver.writer(to)
    for await (const chunk of await driver.open(from)) {
      signal?.throwIfAborted()
      await target.write(chunk)
      if (performance.now() - startedAt >= longestCopy) break
    }
    return target.size
  } catch (error) {
    await driver.remove(to).catch(() => {}) // not made yet, or left to the sweep
    if (!(error instanceof PathNotFoundError || error instanceof DriverError)) throw error
    return 0
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

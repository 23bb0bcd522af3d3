// The files of blobs that are on their way from an upstream. What is there of one that has not come to its end is bytes that
// nobody has verified, and that need not be fetched again if the digest of the whole proves them (P5).
import { randomUUID } from 'node:crypto'
import { PathNotFoundError, type DriverPath } from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import type { ReceiveOptions } from '../registry/registry.ts'
import type { Upload } from '../registry/store.ts'
import { fillPath, fillPrefix, fillsFolder } from './layout.ts'
import { namesIn } from './links.ts'
import { isDead, owner } from './owner.ts'
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

/** Moves the largest file that is left of a blob to `path`. Files of living processes are theirs. */
async function claimLeftovers({ driver, open }: UploadRoom, digest: Digest, path: DriverPath): Promise<void> {
  const prefix = fillPrefix(digest)
  let best: { readonly path: DriverPath; readonly size: number } | undefined
  for (const name of await namesIn(driver, fillsFolder)) {
    const [whose] = name.startsWith(prefix) ? name.slice(prefix.length).split('.') : []
    if (whose === undefined || (whose !== keptOwner && !isDead(whose))) continue
    const candidate = `${fillsFolder}/${name}`
    if (open.has(candidate)) continue
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

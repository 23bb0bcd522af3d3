// What is there of a blob whose fill has not come to its end: bytes that nobody has verified, and that need not be fetched
// again if the digest of the whole proves them (P5).
import { PathNotFoundError, type DriverPath } from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import { fillPrefix, fillsFolder } from './layout.ts'
import { namesIn } from './links.ts'
import { isDead } from './owner.ts'
import type { UploadRoom } from './upload.ts'

/** Stands in a file's name where nobody is filling it. */
export const keptOwner = 'kept'

/** Moves the largest file that is left of a blob to `path`. Files of living processes are theirs. */
export async function claimLeftovers({ driver, open }: UploadRoom, digest: Digest, path: DriverPath): Promise<void> {
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

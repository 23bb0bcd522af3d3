// What was read of a blob's file holds as long as it is still that file.
import type { Digest } from '../oci/digest.ts'
import type { BlobFiles } from './blob-files.ts'
import { trust } from './link-files.ts'

export interface SeenFile {
  readonly version: string
  /** When, by the clock. */
  seen: number
}

export interface FileWatch {
  /** A clock that is never set back, in milliseconds. */
  readonly now: () => number
  readonly stat: BlobFiles['stat']
}

/** Whether a blob's file is the one that was seen: looked at anew where that was longer ago than is trusted (`trust`). */
export async function isAsSeen(file: SeenFile, digest: Digest, { now, stat }: FileWatch): Promise<boolean> {
  const time = now()
  if (time - file.seen < trust) return true
  const found = await stat(digest)
  if (found?.kind !== 'file' || found.version !== file.version) return false
  file.seen = time
  return true
}

// In which repository a blob was last seen: for clients that want to mount one and do not know where it is.
import { recent } from '../cache/recent.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'

/** Blobs that are remembered; of one that was forgotten, the client sends the bytes. */
const rememberedBlobs = 50_000

export class Holders {
  readonly #seen = recent<Digest, RepositoryName>(rememberedBlobs)

  note(digest: Digest, repository: RepositoryName): void {
    this.#seen.set(digest, repository)
  }

  /** It may hold the blob no more. */
  find(digest: Digest): RepositoryName | undefined {
    return this.#seen.get(digest)
  }
}

// Proof that a repository may show a blob which is stored already: links grant access, and a link is made only after a
// manifest of that repository names the blob, or the upstream says that it is there.
import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import { isAbsence } from '../oci/error.ts'
import { ManifestError, parseManifest } from '../oci/manifest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { WritableRepository } from '../registry/store.ts'

/** Names of blobs that are remembered; one that was forgotten is asked of the upstream, or looked for again. */
const rememberedNames = 50_000

/** Which blobs the manifests of a repository name. */
export class NamedBlobs {
  readonly #named = new LRUCache<string, true>({ max: rememberedNames })

  /** Takes note of a manifest that is stored in a repository. */
  add(repository: RepositoryName, manifest: Uint8Array): void {
    for (const blob of parseManifest(manifest).blobs) this.#named.set(`${repository}@${blob.digest}`, true)
  }

  isRemembered(repository: RepositoryName, digest: Digest): boolean {
    return this.#named.has(`${repository}@${digest}`)
  }

  /** Reads the repository's manifests until one names the blob. */
  async search(repository: WritableRepository, digest: Digest): Promise<boolean> {
    for await (const manifestDigest of repository.manifests.list()) {
      await this.#read(repository, manifestDigest)
      if (this.isRemembered(repository.name, digest)) return true
    }
    return false
  }

  async #read(repository: WritableRepository, digest: Digest): Promise<void> {
    try {
      const { bytes } = await repository.manifests.get(digest)
      this.add(repository.name, bytes)
    } catch (error) {
      if (!isAbsence(error) && !(error instanceof ManifestError)) throw error // a damaged manifest names nothing
    }
  }
}

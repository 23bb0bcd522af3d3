// Proof that a repository may show a blob which is stored already: links grant access, and a link is made only after a
// manifest of that repository names the blob, or the upstream says that it is there.
import { recent } from '../cache/recent.ts'
import type { Digest } from '../oci/digest.ts'
import { ManifestError, parseManifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-type.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Manifest } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { ifReadable } from '../registry/unreadable-error.ts'

/** Names of blobs that are remembered; one that was forgotten is asked of the upstream, or looked for again. */
const rememberedNames = 50_000

/** Which blobs the manifests of a repository name. */
export class NamedBlobs {
  /** Repository and blob → the manifest that names it. */
  readonly #named = recent<string, Digest>(rememberedNames)

  /** Takes note of a manifest that is stored in a repository. */
  add(repository: RepositoryName, { bytes, descriptor }: Manifest): void {
    for (const blob of parseManifest(bytes, descriptor.mediaType).blobs) {
      // A foreign layer was never pushed: whoever names one has shown no right to it.
      if (!isForeignLayer(blob.mediaType)) this.#named.set(`${repository}@${blob.digest}`, descriptor.digest)
    }
  }

  /** Whether a manifest that names the blob is known, and still here. */
  async isRemembered(repository: WritableRepository, digest: Digest): Promise<boolean> {
    const manifest = this.#named.get(`${repository.name}@${digest}`)
    return manifest !== undefined && (await ifReadable(repository.manifests.stat(manifest))) !== undefined
  }

  /** Reads the repository's manifests until one names the blob. */
  async search(repository: WritableRepository, digest: Digest, signal: AbortSignal): Promise<boolean> {
    for await (const manifest of repository.manifests.list({ signal })) {
      await this.#read(repository, manifest)
      if (await this.isRemembered(repository, digest)) return true
    }
    return false
  }

  async #read(repository: WritableRepository, digest: Digest): Promise<void> {
    const manifest = await ifReadable(repository.manifests.get(digest))
    try {
      if (manifest !== undefined) this.add(repository.name, manifest)
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error // a damaged manifest names nothing
    }
  }
}

// Manifests of an upstream's repository: here, else fetched by digest, verified and stored.
import type { Coalescer } from '../async/coalesce.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import type { CacheLog } from '../registry/cache-log.ts'
import type { Manifest, ManifestSource } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { isMissing, worse } from '../registry/unreadable-error.ts'
import type { UsageLog } from '../registry/usage.ts'
import { clientError } from './outcome.ts'
import type { NamedBlobs } from './proof.ts'
import type { StorageTrouble } from './storage-trouble.ts'

export interface ProxyManifestsOptions {
  readonly local: WritableRepository
  /** Absent where we never dial out. */
  readonly remote: ManifestSource | undefined
  readonly host: string
  readonly named: NamedBlobs
  readonly usage: UsageLog | undefined
  readonly cacheLog: CacheLog | undefined
  readonly trouble: StorageTrouble
  /** The running fetches of every repository. */
  readonly fetches: Coalescer<Manifest>
  /** The running questions to upstreams of every repository; those about blobs have other keys. */
  readonly stats: Coalescer<Descriptor>
  /** Ends both, at shutdown. */
  readonly signal: AbortSignal
}

export class ProxyManifests implements ManifestSource {
  readonly #options: ProxyManifestsOptions

  constructor(options: ProxyManifestsOptions) {
    this.#options = options
  }

  async stat(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    const { local, remote, usage, stats, signal } = this.#options
    try {
      const known = await local.manifests.stat(digest, { signal: options?.signal })
      usage?.used(local.name, digest)
      return known
    } catch (missing) {
      if (!isMissing(missing)) throw missing
      try {
        if (remote === undefined) throw this.#notCached(digest)
        noteFrom(options?.trace, 'upstream')
        const stat = async (): Promise<Descriptor> => await remote.stat(digest, { signal })
        return await stats.run(`${local.name}/manifests/${digest}`, stat, options?.signal)
      } catch (error) {
        throw clientError(worse(missing, error))
      }
    }
  }

  async get(digest: Digest, options?: CallOptions): Promise<Manifest> {
    try {
      return await this.obtain(digest, options)
    } catch (error) {
      throw clientError(error)
    }
  }

  /** As `get`, with the upstream's own error: for whoever has something else to fall back on. */
  async obtain(digest: Digest, options?: CallOptions): Promise<Manifest> {
    const { local, usage } = this.#options
    try {
      const known = await local.manifests.get(digest, options)
      usage?.used(local.name, digest)
      return known
    } catch (missing) {
      if (!isMissing(missing)) throw missing
      try {
        return await this.#fetch(digest, options)
      } catch (error) {
        throw worse(missing, error)
      }
    }
  }

  async #fetch(digest: Digest, options: CallOptions | undefined): Promise<Manifest> {
    const { local, remote, fetches, signal } = this.#options
    if (remote === undefined) throw this.#notCached(digest)
    noteFrom(options?.trace, 'upstream')
    const fetch = async (): Promise<Manifest> => await this.store(await remote.get(digest, { signal }), digest)
    return await fetches.run(`${local.name}@${digest}`, fetch, options?.signal)
  }

  /** Stores what an upstream sent, by the path that a push takes. A disk that fails costs the copy, not the answer. */
  async store(manifest: Manifest, digest: Digest = manifest.descriptor.digest): Promise<Manifest> {
    const { local, host, named, trouble, cacheLog } = this.#options
    const { mediaType } = manifest.descriptor
    try {
      const stored = await local.manifests.put(manifest.bytes, { mediaType, digest })
      named.add(local.name, stored)
      cacheLog?.note({ action: 'fill', repository: local.name, descriptor: stored.descriptor, host })
      return stored
    } catch (error) {
      if (error instanceof RegistryError) throw error
      trouble.failed(error, { repository: local.name, digest })
      return { ...manifest, descriptor: { ...manifest.descriptor, digest } }
    }
  }

  #notCached(digest: Digest): RegistryError {
    return new RegistryError('MANIFEST_UNKNOWN', `${digest} is not here, and this registry is offline`)
  }
}

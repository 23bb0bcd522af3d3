// Blobs of an upstream's repository: linked here, else stored and proven, else by a fill (DESIGN: «A blob»).
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { BlobSource, OpenBlob, OpenOptions } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Fill } from './fill.ts'
import type { Fills } from './fills.ts'
import { clientError } from './outcome.ts'
import type { NamedBlobs } from './proof.ts'

export interface ProxyBlobsOptions {
  readonly local: WritableRepository
  /** Absent where we never dial out. */
  readonly remote: UpstreamBlobs | undefined
  readonly host: string
  readonly content: ContentStore
  readonly fills: Fills
  readonly named: NamedBlobs
}

export class ProxyBlobs implements BlobSource {
  readonly #options: ProxyBlobsOptions

  constructor(options: ProxyBlobsOptions) {
    this.#options = options
  }

  async stat(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    const { local, remote } = this.#options
    const linked = await this.#orAbsent(local.blobs.stat(digest, options))
    if (linked !== undefined) return linked
    try {
      const revealed = await this.#reveal(digest, options)
      if (revealed !== undefined) return revealed
      if (remote === undefined) throw this.#notCached(digest)
      noteFrom(options?.trace, 'upstream')
      return await remote.stat(digest, { signal: options?.signal })
    } catch (error) {
      throw clientError(error)
    }
  }

  async open(digest: Digest, options?: OpenOptions): Promise<OpenBlob> {
    const { local } = this.#options
    const linked = await this.#orAbsent(local.blobs.open(digest, options))
    if (linked !== undefined) return linked
    try {
      const fill = await this.#findFill(digest, options)
      if (fill !== undefined) return await this.#follow(fill, options)
      if ((await this.#reveal(digest, options)) !== undefined) return await local.blobs.open(digest, options)
      // Others may have started one while we looked.
      return await this.#follow((await this.#findFill(digest, options)) ?? this.#startFill(digest), options)
    } catch (error) {
      throw clientError(error)
    }
  }

  async #follow(fill: Fill, options: OpenOptions | undefined): Promise<OpenBlob> {
    noteFrom(options?.trace, 'fill')
    return await fill.follow(options)
  }

  /** A running fill of the blob, joined for this repository once it has proven its right to it. */
  async #findFill(digest: Digest, options: CallOptions | undefined): Promise<Fill | undefined> {
    const { fills, local } = this.#options
    const { name } = local
    if (fills.find(digest)?.isFor(name) === false) await this.#prove(digest, options)
    const fill = fills.find(digest) // it may have ended meanwhile
    fill?.addRepository(name, local.blobs)
    return fill
  }

  #startFill(digest: Digest): Fill {
    const { fills, local, remote, host } = this.#options
    if (remote === undefined) throw this.#notCached(digest)
    return fills.start(digest, { from: remote, host, repository: local.name, blobs: local.blobs })
  }

  /** Links a blob that is stored but not visible here, after proof: its bytes are not fetched again. */
  async #reveal(digest: Digest, options: CallOptions | undefined): Promise<Descriptor | undefined> {
    const { content, local } = this.#options
    if ((await content.find(digest, options)) === undefined) return undefined
    await this.#prove(digest, options)
    return await this.#orAbsent(local.blobs.link(digest, options))
  }

  /** @throws RegistryError BLOB_UNKNOWN, UpstreamError: this repository has no claim to the blob, or cannot show it */
  async #prove(digest: Digest, options: CallOptions | undefined): Promise<void> {
    const { local, named, remote } = this.#options
    if (named.isRemembered(local.name, digest)) return
    try {
      if (remote === undefined) throw this.#notCached(digest)
      noteFrom(options?.trace, 'upstream')
      await remote.stat(digest, { signal: options?.signal })
    } catch (error) {
      const asked = isAbsence(error) || error instanceof UpstreamError
      if (!asked || !(await named.search(local, digest))) throw error
    }
  }

  #notCached(digest: Digest): RegistryError {
    return new RegistryError('BLOB_UNKNOWN', `${digest} is not here, and this registry is offline`)
  }

  async #orAbsent<T>(found: Promise<T>): Promise<T | undefined> {
    try {
      return await found
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  }
}

// The blobs that a repository's links make visible in it.
import type { Descriptor } from '../oci/descriptor.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { OpenBlob, OpenOptions, StatOptions } from '../registry/source.ts'
import type { BlobStore } from '../registry/store.ts'
import type { Content } from './content.ts'
import type { Holders } from './holders.ts'
import type { Links } from './links.ts'

export interface LinkedBlobsOptions {
  readonly content: Content
  readonly links: Links
  /** The repository that the links are of. */
  readonly name: RepositoryName
  readonly holders: Holders
  readonly deleteEnabled: boolean
}

export class LinkedBlobs implements BlobStore {
  readonly #options: LinkedBlobsOptions

  constructor(options: LinkedBlobsOptions) {
    this.#options = options
  }

  async stat(digest: Digest, options?: StatOptions): Promise<Descriptor> {
    if (options?.renew === true) return await this.#renew(digest, options)
    return { ...(await this.#find(digest, options)), digest }
  }

  async open(digest: Digest, options?: OpenOptions): Promise<OpenBlob> {
    const { content, links } = this.#options
    const known = await this.#find(digest, options)
    try {
      const onWrong = async (): Promise<void> => await links.forget(digest)
      const open = await content.reader.open(known, { ...options, onWrong })
      if (open.descriptor.size !== known.size) await links.forget(digest)
      return digest === known.digest ? open : { ...open, descriptor: { ...open.descriptor, digest } }
    } catch (error) {
      if (isAbsence(error)) await links.forget(digest)
      throw error
    }
  }

  async put(bytes: Uint8Array, options?: CallOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { content, links, name, holders } = this.#options
    using _ = await content.claim(digestOf(bytes))
    const stored = await content.put(bytes)
    await links.add(stored.digest, stored.digest)
    holders.note(stored.digest, name)
    return await content.put(bytes) // it was there already, maybe, and swept before the link could be seen
  }

  async link(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { content } = this.#options
    const target = await content.target(digest)
    if (target === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    using _ = await content.claim(target)
    const stored = await content.findFile(target)
    if (stored === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    await this.#add(digest, stored.digest)
    // A sweep moves a blob away before it looks for links a last time: one that is here now stays.
    if ((await content.findFile(stored.digest)) === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    return { ...stored, digest }
  }

  async #renew(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { content, links } = this.#options
    const target = await links.renew(digest)
    const stored = target === undefined ? undefined : await content.findFile(target)
    if (stored !== undefined) return { ...stored, digest }
    await links.forget(digest)
    throw new RegistryError('BLOB_UNKNOWN', { digest })
  }

  /** Links a blob that has just been published. */
  async reveal(digest: Digest, target: Digest): Promise<void> {
    await this.#options.content.alias(digest, target)
    await this.#add(digest, target)
  }

  async delete(digest: Digest, options?: CallOptions): Promise<void> {
    options?.signal?.throwIfAborted()
    const { deleteEnabled, links } = this.#options
    if (!deleteEnabled) throw new RegistryError('UNSUPPORTED', 'deletion is disabled')
    if (!(await links.remove(digest))) throw new RegistryError('BLOB_UNKNOWN', { digest })
  }

  /** By its sha256 first: whoever sees the other digest's link finds both. */
  async #add(digest: Digest, target: Digest): Promise<void> {
    const { links, name, holders } = this.#options
    await links.add(target, target)
    if (digest !== target) await links.add(digest, target)
    holders.note(digest, name)
  }

  /** The access check. The descriptor holds the sha256 that the blob is stored under. */
  async #find(digest: Digest, options: CallOptions | undefined): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { content, links, name, holders } = this.#options
    const found = await links.find(digest, async (target) => await content.findStored(target))
    if (found === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    holders.note(digest, name)
    return found
  }
}

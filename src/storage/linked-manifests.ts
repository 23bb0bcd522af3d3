// The manifests that a repository's links make visible in it. They are small: unless nothing is to be proven, their bytes
// are compared with their digest whenever they come from storage, and those asked for often stay in memory.
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import { recent } from '../cache/recent.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import { ManifestError, maxManifestSize, parseManifest, type ParsedManifest } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Manifest, StatOptions } from '../registry/source.ts'
import type { ManifestStore, PutManifestOptions } from '../registry/store.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Content } from './content.ts'
import type { Links } from './links.ts'
import type { ProofPolicy } from './proofs.ts'
import type { ReferrerIndex } from './referrer-index.ts'

/** What a manifest in memory costs besides its bytes. */
const overhead = 1024

/** Pairs of digests that are remembered to be of the same bytes. */
const maxSame = 10_000

export interface HotManifestsOptions {
  readonly content: Content
  readonly verify: ProofPolicy
  readonly logger: Logger
  /** Bytes that are kept. */
  readonly maxSize: number
}

/** Manifests of all repositories by their sha256: read from storage, verified and parsed once, hot ones kept. */
export class HotManifests {
  readonly #options: HotManifestsOptions
  readonly #hot: LRUCache<Digest, Manifest>
  readonly #loads = new Coalescer<Manifest | undefined>()
  /** The sha256 of the bytes that another digest was found to match. */
  readonly #same = recent<Digest, Digest>(maxSame)

  constructor(options: HotManifestsOptions) {
    const { maxSize } = options
    this.#options = options
    this.#hot = new LRUCache({ maxSize, sizeCalculation: ({ bytes }) => bytes.byteLength + overhead })
  }

  /** `undefined` where it is not stored, or not right. */
  async find(target: Digest, signal?: AbortSignal): Promise<Manifest | undefined> {
    return this.#hot.get(target) ?? (await this.#loads.run(target, async () => await this.#load(target), signal))
  }

  keep(target: Digest, manifest: Manifest): void {
    this.#hot.set(target, manifest)
  }

  /** Whether bytes that match `target` match the digest that was asked for too. */
  matches(bytes: Uint8Array, digest: Digest, target: Digest): boolean {
    if (digest === target || this.#same.get(digest) === target) return true
    if (digestOf(bytes, algorithmOf(digest)) !== digest) return false
    this.#same.set(digest, target)
    return true
  }

  async #load(target: Digest): Promise<Manifest | undefined> {
    const { content, verify, logger } = this.#options
    try {
      const bytes = await content.reader.read(target, maxManifestSize)
      if (verify !== 'never' && digestOf(bytes) !== target) {
        await content.forget(target)
        logger.warn({ digest: target }, 'damaged manifest ignored')
        return undefined
      }
      // Whatever is linked as a manifest was accepted as one: its type at that time is not stored, only its shape.
      const { mediaType } = parseManifest(bytes, mediaTypes.ociArtifactManifest)
      const manifest = { descriptor: { mediaType, digest: target, size: bytes.byteLength }, bytes }
      this.keep(target, manifest)
      return manifest
    } catch (error) {
      if (isAbsence(error)) return undefined
      if (!(error instanceof ManifestError)) throw error
      logger.warn({ digest: target, error }, 'stored manifest is of no known kind')
      throw new RegistryError('MANIFEST_UNKNOWN', `${target} cannot be served: ${error.message}`, { cause: error })
    }
  }
}

export interface LinkedManifestsOptions {
  readonly content: Content
  readonly manifests: HotManifests
  readonly links: Links
  readonly referrers: ReferrerIndex
  readonly deleteEnabled: boolean
  readonly usage?: UsageLog | undefined
}

export class LinkedManifests implements ManifestStore {
  readonly #options: LinkedManifestsOptions

  constructor(options: LinkedManifestsOptions) {
    this.#options = options
  }

  async stat(digest: Digest, options?: StatOptions): Promise<Descriptor> {
    if (options?.renew === true) return await this.#renew(digest, options)
    return { ...(await this.#find(digest, options)), digest }
  }

  async get(digest: Digest, options?: CallOptions): Promise<Manifest> {
    const { links, manifests } = this.#options
    const { digest: target } = await this.#find(digest, options)
    const manifest = await manifests.find(target, options?.signal)
    if (manifest === undefined || !manifests.matches(manifest.bytes, digest, target)) {
      await links.forget(digest)
      throw new RegistryError('MANIFEST_UNKNOWN', { digest })
    }
    return digest === target ? manifest : { ...manifest, descriptor: { ...manifest.descriptor, digest } }
  }

  async put(bytes: Uint8Array, options?: PutManifestOptions): Promise<Manifest> {
    options?.signal?.throwIfAborted()
    const { content, links, manifests, referrers, usage } = this.#options
    const { mediaType, subject, ...parsed } = parse(bytes, options?.mediaType)
    const copy = Buffer.from(bytes)
    using _ = await content.claim(digestOf(copy))
    const { digest: target, size } = await this.#store(copy, options?.digest)
    const digest = options?.digest ?? target
    await content.alias(digest, target)
    // First, so that no manifest is here and not in the index; and again, as a deletion may be taking it out meanwhile.
    if (subject !== undefined) await referrers.add(subject.digest, digest)
    const names = [...parsed.blobs, ...parsed.manifests].map((named) => named.digest)
    usage?.note({ kind: 'named', repository: links.name, target, names, subject: subject?.digest })
    await links.add(digest, target)
    if (subject !== undefined) await referrers.add(subject.digest, digest)
    await content.put(copy) // it was there already, maybe, and swept before the link could be seen
    manifests.keep(target, { descriptor: { mediaType, digest: target, size }, bytes: copy })
    return { descriptor: { mediaType, digest, size }, bytes: copy }
  }

  async #renew(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { content, links, manifests } = this.#options
    const target = await links.renew(digest)
    const stored = target === undefined ? undefined : await content.findFile(target)
    const manifest = stored === undefined ? undefined : await manifests.find(stored.digest, options?.signal)
    if (manifest !== undefined) return { ...manifest.descriptor, digest }
    await links.forget(digest)
    throw new RegistryError('MANIFEST_UNKNOWN', { digest })
  }

  async *list(options?: CallOptions): AsyncGenerator<Digest, void> {
    for await (const digest of this.#options.links.list()) {
      options?.signal?.throwIfAborted()
      yield digest
    }
  }

  async delete(digest: Digest, options?: CallOptions): Promise<void> {
    options?.signal?.throwIfAborted()
    const { deleteEnabled, links, referrers } = this.#options
    if (!deleteEnabled) throw new RegistryError('UNSUPPORTED', 'deletion is disabled')
    const subject = await this.#subjectOf(digest)
    if (!(await links.remove(digest))) throw new RegistryError('MANIFEST_UNKNOWN', { digest })
    await referrers.removed(digest, subject)
    if (subject === undefined) return
    if ((await links.target(digest)) !== undefined) await referrers.add(subject, digest) // it was pushed again meanwhile
  }

  /** `undefined` also where the manifest is damaged: that is no reason not to delete it. */
  async #subjectOf(digest: Digest): Promise<Digest | undefined> {
    try {
      const { bytes } = await this.get(digest)
      return parseManifest(bytes, mediaTypes.ociArtifactManifest).subject?.digest
    } catch (error) {
      if (isAbsence(error) || error instanceof ManifestError) return undefined
      throw error
    }
  }

  async #store(bytes: Buffer, digest: Digest | undefined): Promise<Descriptor> {
    if (digest !== undefined && digestOf(bytes, algorithmOf(digest)) !== digest) {
      throw new RegistryError('DIGEST_INVALID', `the manifest does not match ${digest}`)
    }
    return await this.#options.content.put(bytes)
  }

  /** The access check. The descriptor holds the sha256 that the manifest is stored under. */
  async #find(digest: Digest, options: CallOptions | undefined): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { links, manifests } = this.#options
    const found = await links.find(digest, async (target) => (await manifests.find(target))?.descriptor)
    if (found === undefined) throw new RegistryError('MANIFEST_UNKNOWN', { digest })
    return found
  }
}

/** @throws RegistryError MANIFEST_INVALID */
function parse(bytes: Uint8Array, declared: string | undefined): ParsedManifest {
  if (bytes.byteLength > maxManifestSize) {
    throw new RegistryError('MANIFEST_INVALID', `the manifest is larger than ${maxManifestSize} bytes`)
  }
  try {
    return parseManifest(bytes, declared)
  } catch (cause) {
    if (cause instanceof ManifestError) throw new RegistryError('MANIFEST_INVALID', cause.message, { cause })
    throw cause
  }
}

// The readable half of the contract: what can be pulled, from our storage or from an upstream.
import type { ByteRange, RangeSpec } from '../bytes/range.ts'
import type { ByteStream } from '../bytes/stream.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrer.ts'
import type { CallOptions } from './call.ts'

export interface OpenOptions extends CallOptions {
  readonly range?: RangeSpec | undefined
  /** The caller can send its client elsewhere for the whole blob: `location` is wanted. */
  readonly canRedirect?: boolean | undefined
}

export interface StatOptions extends CallOptions {
  /**
   * A client relies on the answer: it will not push what is here. Storage is asked, whatever is known, and what is found
   * is safe from a sweep for a while. Means nothing to what is not ours.
   */
  readonly renew?: boolean | undefined
}

/** A blob that is being read. Whoever opened it owns `body`. */
export interface OpenBlob {
  /** Of the whole blob, also where a range of it was asked for. */
  readonly descriptor: Descriptor
  /** The bytes that `body` holds; the whole blob where no range was asked for. */
  readonly range: ByteRange
  /** Fails, rather than ends, where the bytes turn out short or wrong. */
  readonly body: ByteStream
  /** Where the same file can be had instead of `body`; only of a blob that is stored whole and was found right. */
  readonly location?: URL | undefined
}

/** Blobs that can be read: ours, or an upstream's. Ours fail with UnreadableError where storage does. */
export interface BlobSource {
  /** @throws RegistryError BLOB_UNKNOWN where this source has no such blob */
  stat(digest: Digest, options?: StatOptions): Promise<Descriptor>
  /**
   * Opens a blob, or a range of it. Resolves when the size is known, before the bytes are here.
   * @throws RegistryError BLOB_UNKNOWN; RangeNotSatisfiableError
   */
  open(digest: Digest, options?: OpenOptions): Promise<OpenBlob>
}

/** A manifest or an index with the exact bytes it was published as. */
export interface Manifest {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
}

/** Manifests by digest; a tag is resolved first. */
export interface ManifestSource {
  /** @throws RegistryError MANIFEST_UNKNOWN */
  stat(digest: Digest, options?: StatOptions): Promise<Descriptor>
  /** The bytes match `digest`. @throws RegistryError MANIFEST_UNKNOWN */
  get(digest: Digest, options?: CallOptions): Promise<Manifest>
}

export interface ListOptions extends CallOptions {
  /** Start behind this name, which need not exist. */
  readonly after?: string | undefined
}

export interface ResolveOptions extends CallOptions {
  /** What another process has changed within the last second may be missed: for tags that are asked of an upstream anyway. */
  readonly isCopy?: boolean | undefined
  /** Milliseconds for which a copy is served without asking again, instead of what is configured. Means nothing to what is ours. */
  readonly freshness?: number | undefined
}

export interface TagSource {
  /** @throws RegistryError MANIFEST_UNKNOWN where there is no such tag */
  resolve(tag: Tag, options?: ResolveOptions): Promise<Descriptor>
  /** In byte order. @throws RegistryError NAME_UNKNOWN where there is no such repository */
  list(options?: ListOptions): AsyncIterable<Tag>
}

/** What points at a manifest: signatures, SBOMs and other artifacts that name it as their subject. */
export interface ReferrersSource {
  /**
   * In byte order of their digests; `after` is the last one that was seen. Nothing where nothing points at the subject,
   * which need not exist, nor need its repository.
   */
  list(subject: Digest, options?: ListOptions): AsyncIterable<Referrer>
}

/** One repository, to be read. Making one costs no I/O: whether it exists shows when it is asked for something. */
export interface Repository {
  readonly name: RepositoryName
  readonly blobs: BlobSource
  readonly manifests: ManifestSource
  readonly tags: TagSource
  readonly referrers: ReferrersSource
}

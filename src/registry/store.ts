// The writable half of the contract: a repository that can be pushed to.
import type { ByteRange } from '../bytes/range.ts'
import type { ByteStream } from '../bytes/stream.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrer.ts'
import type { CallOptions } from './call.ts'
import type { BlobSource, Manifest, ManifestSource, ReferrersSource, Repository, TagSource } from './source.ts'

/** Blobs that a repository's links make visible in it; the bytes are shared by all repositories. */
export interface BlobStore extends BlobSource {
  /** Stores a small blob whole, and links it. */
  put(bytes: Uint8Array, options?: CallOptions): Promise<Descriptor>
  /**
   * Makes a stored blob visible here: the caller has proof that this repository may show it. A second call is harmless.
   * @throws RegistryError BLOB_UNKNOWN where no such blob is stored
   */
  link(digest: Digest, options?: LinkOptions): Promise<Descriptor>
  /**
   * Takes the link away; the bytes stay until a sweep finds that nothing links them.
   * @throws RegistryError UNSUPPORTED where deletion is disabled, BLOB_UNKNOWN
   */
  delete(digest: Digest, options?: CallOptions): Promise<void>
}

export interface LinkOptions extends CallOptions {
  /** The repository whose link was the proof, if one was. */
  readonly from?: RepositoryName | undefined
}

export interface ManifestStore extends ManifestSource {
  /**
   * Stores a manifest's exact bytes. What it refers to is not looked at.
   * @throws RegistryError MANIFEST_INVALID where the bytes are no manifest, DIGEST_INVALID where they do not match
   * `digest`
   */
  put(bytes: Uint8Array, options?: PutManifestOptions): Promise<Manifest>
  /** Every manifest of the repository, in no order. */
  list(options?: CallOptions): AsyncIterable<Digest>
  /** @throws RegistryError UNSUPPORTED where deletion is disabled, MANIFEST_UNKNOWN */
  delete(digest: Digest, options?: CallOptions): Promise<void>
}

export interface PutManifestOptions extends CallOptions {
  /** The Content-Type it came with; used only where the document does not name its own type. */
  readonly mediaType?: string | undefined
  /** What the bytes must match; without it, they are stored under their sha256. */
  readonly digest?: Digest | undefined
}

export interface TagStore extends TagSource {
  /** What a tag points at here, whether or not that manifest is still stored. */
  find(tag: Tag, options?: CallOptions): Promise<Digest | undefined>
  /** Points a tag at a manifest, which the caller has stored before. The last of several writers wins. */
  put(tag: Tag, digest: Digest, options?: CallOptions): Promise<void>
  /**
   * Takes the tag away, also where deletion is disabled: never for a client's request as it is.
   * @returns whether there was one
   */
  forget(tag: Tag, options?: CallOptions): Promise<boolean>
  /** The tags that point at a manifest now. Costs a look at every tag. */
  pointingAt(digest: Digest, options?: CallOptions): AsyncIterable<Tag>
  /**
   * With `onlyIf`, a tag that does not point at that manifest is left as it is, and none at all is no trouble.
   * @returns whether it was taken away
   * @throws RegistryError UNSUPPORTED where deletion is disabled, MANIFEST_UNKNOWN
   */
  delete(tag: Tag, options?: DeleteTagOptions): Promise<boolean>
}

export interface DeleteTagOptions extends CallOptions {
  readonly onlyIf?: Digest | undefined
}

/**
 * The list is that of the manifests which are stored here: a manifest is in it as long as it is stored. What an upstream
 * says of its own repository is kept beside it.
 */
export interface ReferrersStore extends ReferrersSource {
  /** What was kept last. */
  find(subject: Digest, options?: CallOptions): Promise<readonly Referrer[] | undefined>
  /** Replaces what was kept. */
  keep(subject: Digest, referrers: readonly Referrer[], options?: CallOptions): Promise<void>
}

/** Names an upload session: a UUID. */
export type UploadId = string & { readonly __uploadId: unique symbol }

/**
 * An unfinished blob. Who opens one must end it: `commit`, `close` (to go on later) or `abort`. Leaving its scope in
 * any other way aborts it. Calls do not overlap: one at a time.
 */
export interface Upload extends AsyncDisposable {
  readonly id: UploadId
  readonly startedAt: Date
  /** Bytes appended so far. */
  readonly size: number
  /** Appends a whole stream, in order. Where it fails in the middle, what came before is kept. */
  append(source: AsyncIterable<Uint8Array>, options?: AppendOptions): Promise<void>
  /** Reads bytes back, also while others are being appended: those before `range.end` that `size` does not count yet, later. */
  open(range: ByteRange): Promise<ByteStream>
  /**
   * Compares the bytes appended so far with `digest`; `commit` does not do it again.
   * @throws RegistryError DIGEST_INVALID
   */
  verify(digest: Digest): Promise<void>
  /**
   * Verifies the bytes against `digest`, makes them durable, and publishes the blob; where the upload belongs to a
   * repository it is linked there. The session is gone afterwards, also where the bytes are wrong; where storage fails,
   * the bytes can be read until `abort`. Where `signal` has fired before its turn came, all is as it was.
   * @throws RegistryError DIGEST_INVALID
   */
  commit(digest: Digest, options?: CallOptions): Promise<Descriptor>
  /** Keeps the bytes for `resume`. */
  close(): Promise<void>
  /** Removes the bytes. Idempotent, does nothing after `commit` or `close`, and does not throw. */
  abort(): Promise<void>
}

export interface AppendOptions extends CallOptions {
  /** Called when more bytes can be read back. */
  readonly onWritten?: (() => void) | undefined
}

export interface UploadStore {
  create(options?: CallOptions): Promise<Upload>
  /** `id` is a client's text. @throws RegistryError BLOB_UPLOAD_UNKNOWN */
  resume(id: string, options?: CallOptions): Promise<Upload>
}

/** A repository of our own. */
export interface WritableRepository extends Repository {
  readonly blobs: BlobStore
  readonly manifests: ManifestStore
  readonly tags: TagStore
  readonly referrers: ReferrersStore
  readonly uploads: UploadStore
}

/** What can be taken out of a repository: of our own, or of the copy of an upstream's, which the next pull brings back. */
export interface RemovableRepository {
  readonly blobs: Pick<BlobStore, 'delete'>
  readonly manifests: Pick<ManifestStore, 'delete'>
  readonly tags: Pick<TagStore, 'find' | 'delete' | 'pointingAt'>
}

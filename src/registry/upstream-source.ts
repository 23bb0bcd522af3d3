// What an upstream offers: the readable half of the contract, and the two things a copy needs besides.
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrer.ts'
import type { CallOptions } from './call.ts'
import type { BlobSource, ListOptions, Manifest, ManifestSource, TagSource } from './source.ts'
import type { ByteStream } from '../bytes/stream.ts'

/** Every method throws UpstreamError where the upstream cannot answer, beside what the contract names. */
export interface UpstreamSource {
  repository(name: RepositoryName): UpstreamRepository
  /** What is known of the upstream now; nobody is asked. */
  condition(): UpstreamCondition
}

export interface UpstreamCondition {
  /** Where not, requests fail at once, but for one now and then that finds out: so there have to be some. */
  readonly isReachable: boolean
  /** Pulls that it has left for us, where it said so lately. */
  readonly pullsLeft: number | undefined
}

export interface UpstreamRepository {
  readonly name: RepositoryName
  readonly blobs: UpstreamBlobs
  readonly manifests: ManifestSource
  readonly tags: UpstreamTags
  readonly referrers: UpstreamReferrers
}

export interface UpstreamBlobs extends Pick<BlobSource, 'stat'> {
  /**
   * The blob's bytes as they come, unverified: the caller hashes them. Fails where the connection breaks or the body is
   * shorter or longer than announced.
   */
  fetch(digest: Digest, options?: FetchOptions): Promise<FetchedBlob>
}

export interface FetchOptions extends CallOptions {
  /** The first byte wanted. The answer may nevertheless begin at 0, and go to the end: look at `start` and `end`. */
  readonly start?: number | undefined
  /** Behind the last byte wanted, which may lie beyond the end of the blob. */
  readonly end?: number | undefined
  /** How often these bytes were asked for before: where there are several places to ask, another one is tried first. */
  readonly attempt?: number | undefined
}

export interface FetchedBlob {
  /** Of the whole blob; unknown where the upstream does not say. */
  readonly size: number | undefined
  /** The first byte of `body`. */
  readonly start: number
  /** Behind the last byte of `body`; unknown where `size` is. */
  readonly end: number | undefined
  /** Who sends it, for sentences. */
  readonly host: string
  /** Parts with different ones are not parts of one whole (a strong `ETag`, with where it came from). */
  readonly validator: string | undefined
  readonly body: ByteStream
}

export interface UpstreamTags extends TagSource {
  /**
   * Asks what a tag points at, without fetching it: a HEAD, which costs no pull. `undefined` where the upstream's HEAD
   * does not say; a size of 0 where it does not say that.
   * @throws RegistryError MANIFEST_UNKNOWN
   */
  find(tag: Tag, options?: CallOptions): Promise<Descriptor | undefined>
  /** Fetches the manifest that a tag points at; its digest is computed from the bytes. */
  get(tag: Tag, options?: CallOptions): Promise<Manifest>
  list(options?: ListOptions): AsyncIterable<Tag>
}

export interface UpstreamReferrers {
  /** All that point at the subject, in no order; `undefined` where the upstream has no API to say so. */
  find(subject: Digest, options?: CallOptions): Promise<readonly Referrer[] | undefined>
}

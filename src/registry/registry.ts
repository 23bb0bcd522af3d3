// THE CONTRACT, the waist of the house: the wings know each other only through it. Whatever adds behaviour to a registry
// takes one and is one.
import type { Digester } from '../bytes/digester.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions } from './call.ts'
import type { BlobSource, ListOptions, OpenBlob, OpenOptions, Repository } from './source.ts'
import type { RemovableRepository, Upload, WritableRepository } from './store.ts'

export interface RepositoryOptions extends Pick<CallOptions, 'trace'> {
  /** The registry that the client means, as OCI's `ns` parameter names it: a key to look up, never a host to dial. */
  readonly namespace?: string | undefined
}

/** A whole server's content. */
export interface Registry {
  /** @throws RegistryError NAME_UNKNOWN where `namespace` is none that this registry knows */
  repository(name: RepositoryName, options?: RepositoryOptions): Repository
  /**
   * The same repository, to be written to.
   * @throws RegistryError UNSUPPORTED where it is not ours to write
   */
  writable(name: RepositoryName, options?: RepositoryOptions): WritableRepository
  /** The same repository, to delete from; deletion may still be disabled. */
  removable(name: RepositoryName, options?: RepositoryOptions): RemovableRepository
  /**
   * The one name that a repository has in our storage, whichever of its names a client uses: what rights are given by.
   * @throws RegistryError NAME_UNKNOWN, NAME_INVALID where there can be no such repository
   */
  place(name: RepositoryName, options?: RepositoryOptions): RepositoryName
  /**
   * A repository in which a blob was seen lately, if that is remembered; it may have been deleted there since. A hint for
   * clients that do not know where a blob is, no right to it.
   */
  holderOf(digest: Digest): RepositoryName | undefined
  /** The repositories that hold something here, in the order of a walk: `a/b` before `a-b`. */
  list(options?: ListOptions): AsyncIterable<RepositoryName>
}

/** A registry on our own storage, with what a decorator needs to fill it. */
export interface LocalRegistry extends Registry {
  repository(name: RepositoryName): WritableRepository
  readonly content: ContentStore
}

/**
 * All blobs that are stored, whoever may see them. Never for a client's request as it is: a repository's link grants
 * access, this store does not ask for one.
 */
export interface ContentStore extends BlobSource {
  find(digest: Digest, options?: CallOptions): Promise<Descriptor | undefined>
  open(digest: Digest, options?: OpenOptions): Promise<OpenBlob>
  /** Until it is disposed, the stored bytes are not taken away to make room: they are being read, or about to be linked. */
  hold(digest: Digest): Disposable
  /**
   * Begins a blob that belongs to no repository; `commit` stores it unlinked. It begins with what an earlier one kept of
   * the same blob (`close`), or a dead process left: bytes that nobody has verified. What nobody wants is swept.
   */
  receive(options: ReceiveOptions): Promise<Upload>
}

export interface ReceiveOptions extends CallOptions {
  /** What it is to become. */
  readonly digest: Digest
  /** Begins with nothing, whatever was kept. */
  readonly isFresh?: boolean | undefined
  /** Counts every byte that is appended, also one that cannot be stored; the caller counts those that are there. */
  readonly digester?: Digester | undefined
}

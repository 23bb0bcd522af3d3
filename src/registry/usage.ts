// What a keeper of the disk is told about a store, and what it may do there: it learns what is stored, who links it and
// when it was last asked for, and takes away what was not asked for longest.
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { RemovableRepository } from './store.ts'

/** Something about a store that has become true. `target` is always a sha256, under which bytes are stored. */
export type Fact =
  | {
      readonly kind: 'stored'
      readonly target: Digest
      readonly size: number
      /** When the file was written, where that is longer ago than now. */
      readonly modified?: Date | undefined
    }
  | { readonly kind: 'removed'; readonly target: Digest }
  | {
      readonly kind: 'linked'
      readonly repository: RepositoryName
      readonly as: 'blobs' | 'manifests'
      readonly digest: Digest
      readonly target: Digest
    }
  | {
      readonly kind: 'unlinked'
      readonly repository: RepositoryName
      readonly as: 'blobs' | 'manifests'
      readonly digest: Digest
    }
  /** What a manifest of a repository refers to; it is told before the manifest's link. */
  | {
      readonly kind: 'named'
      readonly repository: RepositoryName
      readonly target: Digest
      /** Blobs and children. */
      readonly names: readonly Digest[]
      readonly subject: Digest | undefined
    }
  | { readonly kind: 'tagged'; readonly repository: RepositoryName; readonly tag: Tag; readonly digest: Digest }
  | { readonly kind: 'untagged'; readonly repository: RepositoryName; readonly tag: Tag }

/** Takes note at once, at next to no cost, and never fails. */
export interface UsageLog {
  /** In the order of what happens on storage, for any one path of it. */
  note(fact: Fact): void
  /** A client was given this, or told that it is here. */
  used(repository: RepositoryName, digest: Digest): void
}

/** Traces of collections of garbage in a store, by whatever process. */
export interface Collections {
  /** Whether one may run now, or was killed and not all that it had set aside is back. */
  readonly isRunning: boolean
  /** Something else when another one has begun or ended since. */
  readonly last: number | undefined
}

/** A store whose content may be taken away to make room. */
export interface EvictableStore {
  /**
   * Says all that is true of the store, while it is in use: what changes meanwhile may or may not be said.
   * @throws where anything cannot be read: then it is not known what is needed
   */
  survey(options: { readonly signal: AbortSignal }): AsyncIterable<Fact>
  /** What a collection has set aside for a moment no survey sees: one that had a collection beside it knows too little. */
  collections(): Promise<Collections>
  /** As `Registry.removable`, whether or not clients may delete. */
  discardable(name: RepositoryName): RemovableRepository
  /** Whether somebody reads the stored bytes, or is about to link them. */
  isInUse(target: Digest): boolean
  /**
   * Removes a stored blob's bytes, unless they are in use or `isNeeded`; nobody begins to use them between that question
   * and their end.
   * @returns the bytes that are free now; `undefined` where nothing was done
   */
  free(target: Digest, isNeeded: () => boolean): Promise<number | undefined>
}

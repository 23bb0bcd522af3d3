// What whoever keeps copies of an upstream's content tells of them.
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'

/** `repository` is the name under which the copies lie, `host` the upstream's. */
export type CacheNews =
  /** A blob or a manifest has come from an upstream and is stored. */
  | { readonly action: 'fill'; readonly repository: string; readonly descriptor: Descriptor; readonly host: string }
  /** The upstream has said what a tag means now: what it meant before, or something else. */
  | {
      readonly action: 'revalidated'
      readonly repository: RepositoryName
      readonly tag: Tag
      readonly descriptor: Descriptor
      readonly host: string
    }
  /** A client was given what a tag meant, for the upstream could not be asked. */
  | {
      readonly action: 'stale'
      readonly repository: RepositoryName
      readonly tag: Tag
      readonly descriptor: Descriptor
      readonly host: string
    }
  /** A blob or a manifest was taken out of a repository to make room, or because nobody has used it for long. */
  | { readonly action: 'evicted'; readonly repository: RepositoryName; readonly digest: Digest }

export interface CacheLog {
  /** At no cost, and never fails. */
  note(news: CacheNews): void
}

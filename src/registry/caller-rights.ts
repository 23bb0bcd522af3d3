// Rights that an upstream itself gives: whether it lets whoever has some client's credentials pull what copies are here of.
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'

/** What a client has sent, meant for one upstream: never kept, logged, or shown to anybody else (P8). */
export type CallerCredentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A bearer token of the client's own. */
  | { readonly kind: 'registry-token'; readonly token: string }

export type AskedObject =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'manifest' | 'blob'; readonly digest: Digest }

export interface CallerQuestion {
  /** By its name at the upstream. */
  readonly repository: RepositoryName
  readonly object: AskedObject | undefined
  readonly credentials: CallerCredentials
}

export interface CallerVerdict {
  readonly mayPull: boolean
  /** Whether it holds for all of the repository, rather than for the object alone. */
  readonly isForAll: boolean
}

export interface CallerRights {
  /** Takes no longer than the upstream's limits allow, and goes on without whoever asked. @throws UpstreamError where it does not say */
  ask(question: CallerQuestion): Promise<CallerVerdict>
}

/** A repository of an upstream whose own word decides who may pull the copies. */
export interface ClaimedRepository {
  /** The upstream's title: no other one has it. */
  readonly upstream: string
  /** By its name there. */
  readonly repository: RepositoryName
  readonly rights: CallerRights
}

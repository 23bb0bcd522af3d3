// Who may do what: the rights that a request needs, and whoever decides about them. Decided before anything is looked up.
import type { RepositoryName } from '../oci/reference.ts'
import type { AskedObject } from './caller-rights.ts'

export type AccessAction = 'pull' | 'push' | 'delete' | '*'

/** A right, in the words of distribution's tokens: `repository:team/app:pull`, `registry:catalog:*`. */
export interface AccessRecord {
  readonly type: 'repository' | 'registry'
  /** What the client calls it, which is what a token names. */
  readonly name: string
  readonly action: AccessAction
  /** The repository's one name in our storage, whatever a client calls it; `undefined`: it can be none of ours. */
  readonly place?: RepositoryName | undefined
  /** In which of the client's words the place was found: the name in the path, and `ns`. */
  readonly asked?: { readonly name: RepositoryName; readonly namespace: string | undefined } | undefined
  /** What of the repository is asked for, where that is one thing. */
  readonly object?: AskedObject | undefined
}

/** What of a request may bear on the decision. */
export interface AccessFacts {
  readonly authorization: string | undefined
  /** Who it comes from, as an address without port. */
  readonly address: string | undefined
  /** The host that it asks for, by its own word or a trusted proxy's: only ever repeated to the client that sent it. */
  readonly host: string | undefined
}

export type AccessDecision = AccessGranted | AccessRefused

export interface AccessGranted {
  readonly isGranted: true
  /** `undefined`: nobody was asked who he is. */
  readonly user: string | undefined
  /** Sent with the answer, where credentials would have given more. */
  readonly challenge?: string | undefined
}

export interface AccessRefused {
  readonly isGranted: false
  /** For `WWW-Authenticate`. */
  readonly challenge: string
  /** For the log: a constant phrase, which holds nothing that the client sent. */
  readonly reason: string
}

export interface AccessController {
  /**
   * Whether all of the records are granted. No records: whether the client is one who may come in at all.
   * @throws RegistryError TOOMANYREQUESTS, UNAVAILABLE where it cannot be decided now
   */
  authorize(facts: AccessFacts, records: readonly AccessRecord[]): Promise<AccessDecision>
}

// What each way of telling clients apart does: it makes sure who one is, and what its credentials alone give it.
import type { AccessFacts, AccessRecord } from '../registry/access.ts'

/** What bearer challenges know of failures (RFC 6750 §3.1). */
export type ChallengeError = 'invalid_token' | 'insufficient_scope'

export interface Verified {
  /** Empty: somebody whom a token server has let in without a name. */
  readonly user: string
  /** What the client's token says of it; empty where it has none. */
  readonly claims: Readonly<Record<string, unknown>>
}

export interface Unverified {
  /** For the log: a constant phrase, which holds nothing that the client sent. */
  readonly reason: string
  readonly error?: ChallengeError | undefined
}

export interface Controller {
  /** @throws RegistryError TOOMANYREQUESTS, UNAVAILABLE where it cannot be decided now */
  verify(facts: AccessFacts, records: readonly AccessRecord[]): Promise<Verified | Unverified>
  /** For `WWW-Authenticate`. */
  challenge(facts: AccessFacts, records: readonly AccessRecord[], error?: ChallengeError): string
}

// When an upstream last confirmed what a tag points at, or what its list of a manifest's referrers is. A fact that may vanish: it costs one HEAD.
import { isDigest, type Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'

export interface Confirmation {
  readonly digest: Digest
  /** Milliseconds since 1970. */
  readonly confirmedAt: number
}

/** Where confirmations are kept; losing one is harmless, and it never throws. */
export interface Confirmations {
  find(key: string): Promise<Confirmation | undefined>
  set(key: string, value: Confirmation): Promise<void>
}

/** `undefined` where a stored value is not a confirmation. */
export function parseConfirmation(value: unknown): Confirmation | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if (!('digest' in value) || typeof value.digest !== 'string' || !isDigest(value.digest)) return undefined
  if (!('confirmedAt' in value) || typeof value.confirmedAt !== 'number') return undefined
  return { digest: value.digest, confirmedAt: value.confirmedAt }
}

/** `ageing`: still fresh, but for the last fifth of its freshness. */
export type Age = 'fresh' | 'ageing' | 'stale'

/** How much of a freshness has passed when it is time to ask ahead. */
const ageingFrom = 0.8

export class Freshness {
  readonly #confirmations: Confirmations
  readonly #now: () => number

  constructor(confirmations: Confirmations, now: () => number = Date.now) {
    this.#confirmations = confirmations
    this.#now = now
  }

  /** Fresh where the upstream said within `freshFor` milliseconds that the tag, or a subject's list, is `digest`. */
  async ageOf(repository: RepositoryName, of: Tag | Digest, digest: Digest, freshFor: number): Promise<Age> {
    if (freshFor <= 0) return 'stale'
    const last = await this.#confirmations.find(`${repository}:${of}`)
    if (last?.digest !== digest) return 'stale'
    const age = this.#now() - last.confirmedAt
    if (age < 0 || age >= freshFor) return 'stale' // a clock that was set back makes nothing fresh
    return age < freshFor * ageingFrom ? 'fresh' : 'ageing'
  }

  async refresh(repository: RepositoryName, of: Tag | Digest, digest: Digest): Promise<void> {
    await this.#confirmations.set(`${repository}:${of}`, { digest, confirmedAt: this.#now() })
  }
}

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

export class Freshness {
  readonly #confirmations: Confirmations
  readonly #now: () => number

  constructor(confirmations: Confirmations, now: () => number = Date.now) {
    this.#confirmations = confirmations
    this.#now = now
  }

  /** Whether the upstream said within `freshFor` milliseconds that the tag, or a subject's list, is `digest`. */
  async isFresh(repository: RepositoryName, of: Tag | Digest, digest: Digest, freshFor: number): Promise<boolean> {
    if (freshFor <= 0) return false
    const last = await this.#confirmations.find(`${repository}:${of}`)
    if (last?.digest !== digest) return false
    const age = this.#now() - last.confirmedAt
    return age >= 0 && age < freshFor // a clock that was set back makes nothing fresh
  }

  async refresh(repository: RepositoryName, of: Tag | Digest, digest: Digest): Promise<void> {
    await this.#confirmations.set(`${repository}:${of}`, { digest, confirmedAt: this.#now() })
  }
}

// Bearer tokens, remembered for as long as they are good and fetched once for all who wait.
import { Coalescer } from '../async/coalesce.ts'
import { refusalLifetime } from './refusals.ts'

export interface Token {
  readonly value: string
  /** Milliseconds from its receipt on. */
  readonly lifetime: number
}

export interface TokenCacheOptions {
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
  /** How many tokens are remembered. */
  readonly limit?: number | undefined
  /** Told why a token could not be renewed ahead of its end; it is still in use. */
  readonly onRenewalFailure?: ((error: unknown) => void) | undefined
}

interface Held {
  readonly value: string
  readonly fetchedAt: number
  readonly renewAt: number
  readonly endsAt: number
  /** Where it was refused in vain: until then no other is fetched for that. */
  readonly keptUntil?: number | undefined
}

/** The part of its life after which a token is renewed while it is still in use. */
const renewAfter = 0.8

export class TokenCache {
  readonly #clock: () => number
  readonly #limit: number
  readonly #onRenewalFailure: (error: unknown) => void
  /** The longest unused first. */
  readonly #held = new Map<string, Held>()
  readonly #fetches = new Coalescer<string>()

  constructor(options: TokenCacheOptions = {}) {
    this.#clock = options.clock ?? ((): number => performance.now())
    this.#limit = options.limit ?? 1000
    this.#onRenewalFailure = options.onRenewalFailure ?? ((): void => {})
  }

  /** The token under `key`; `fetch` is called where there is none, or where it will soon end. */
  async get(key: string, fetch: () => Promise<Token>, signal?: AbortSignal): Promise<string> {
    const held = this.#held.get(key)
    const now = this.#clock()
    if (held === undefined || now >= held.endsAt) return await this.#fetch(key, fetch, signal)
    const renew = now >= held.renewAt
    this.#held.delete(key)
    this.#held.set(key, renew ? { ...held, renewAt: (now + held.endsAt) / 2 } : held) // a failure is not repeated at once
    if (renew) this.#fetch(key, fetch).catch(this.#onRenewalFailure)
    return held.value
  }

  /** What `fetchedAt` is compared with. */
  now(): number {
    return this.#clock()
  }

  /**
   * Says that a request which began at `asked` was refused with this token. An old token may have been revoked: it is
   * forgotten. One that is younger than the request is as good as tokens get: it stays, and no other is fetched for a
   * while, for whoever may not see a thing would have one fetched with every request.
   */
  refused(key: string, value: string, asked: number): void {
    const held = this.#held.get(key)
    if (held?.value !== value) return // another has taken its place
    const now = this.#clock()
    if (held.keptUntil !== undefined && now < held.keptUntil) return
    if (held.fetchedAt < asked) this.#held.delete(key)
    else this.#held.set(key, { ...held, keptUntil: now + refusalLifetime })
  }

  async #fetch(key: string, fetch: () => Promise<Token>, signal?: AbortSignal): Promise<string> {
    const run = async (): Promise<string> => {
      const { value, lifetime } = await fetch()
      const now = this.#clock()
      this.#held.delete(key)
      this.#held.set(key, { value, fetchedAt: now, renewAt: now + lifetime * renewAfter, endsAt: now + lifetime })
      for (const oldest of this.#held.keys()) {
        if (this.#held.size <= this.#limit) break
        this.#held.delete(oldest)
      }
      return value
    }
    return await this.#fetches.run(key, run, signal)
  }
}

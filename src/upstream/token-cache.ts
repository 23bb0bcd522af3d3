// Bearer tokens, remembered for as long as they are good and fetched once for all who wait.
import { Coalescer } from '../async/coalesce.ts'

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
  readonly renewAt: number
  readonly endsAt: number
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

  /** Forgets a token that was refused, unless another has taken its place. */
  drop(key: string, value: string): void {
    if (this.#held.get(key)?.value === value) this.#held.delete(key)
  }

  async #fetch(key: string, fetch: () => Promise<Token>, signal?: AbortSignal): Promise<string> {
    const run = async (): Promise<string> => {
      const { value, lifetime } = await fetch()
      const now = this.#clock()
      this.#held.delete(key)
      this.#held.set(key, { value, renewAt: now + lifetime * renewAfter, endsAt: now + lifetime })
      for (const oldest of this.#held.keys()) {
        if (this.#held.size <= this.#limit) break
        this.#held.delete(oldest)
      }
      return value
    }
    return await this.#fetches.run(key, run, signal)
  }
}

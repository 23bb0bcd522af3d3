// Requests that are held back after a 429 (RFC 6585 §4): whoever was told to wait, waits, and others of the same class
// with him. Registries count by class: Docker Hub's limit is on GETs of manifests and on nothing else.
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'

/** `list`: of tags, of referrers. */
export type RequestClass = 'manifest' | 'manifest-head' | 'blob' | 'list' | 'token'

export interface HoldsOptions {
  readonly logger: Logger
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
  /** From 0 to 1. */
  readonly random?: (() => number) | undefined
  /** How many are remembered. */
  readonly limit?: number | undefined
}

/** Seconds, where the answer does not say, or nothing that can be read; up to a fifth more, so that not all come at once. */
const usual = 60
const jitter = 0.2

export class Holds {
  readonly #logger: Logger
  readonly #clock: () => number
  readonly #random: () => number
  readonly #limit: number
  /** Origin and class → when it ends. The oldest first; one that is over stays until something else is answered. */
  readonly #ends = new Map<string, number>()

  constructor({ logger, clock, random, limit }: HoldsOptions) {
    this.#logger = logger
    this.#clock = clock ?? ((): number => performance.now())
    this.#random = random ?? Math.random
    this.#limit = limit ?? 256
  }

  /** @throws UpstreamError `rate-limited` where a request to that host is not to be sent now */
  check({ origin, host }: URL, what: RequestClass): void {
    const wait = (this.#ends.get(keyOf(origin, what)) ?? -Infinity) - this.#clock()
    if (wait <= 0) return
    const retryAfter = Math.ceil(wait / 1000)
    const message = `${host} has had too many requests of us, it is asked again in ${retryAfter} s`
    throw new UpstreamError('rate-limited', host, message, { retryAfter })
  }

  /** Takes note of a 429. @param retryAfter seconds, where the answer says so */
  hold({ origin, host }: URL, what: RequestClass, retryAfter: number | undefined): void {
    const key = keyOf(origin, what)
    const seconds = retryAfter ?? usual * (1 + jitter * this.#random())
    const known = this.#ends.get(key)
    this.#ends.delete(key)
    this.#ends.set(key, Math.max(known ?? 0, this.#clock() + seconds * 1000))
    for (const oldest of this.#ends.keys()) {
      if (this.#ends.size <= this.#limit) break
      this.#ends.delete(oldest)
    }
    if (known === undefined) this.#logger.warn({ host, class: what, seconds }, 'upstream limits our requests')
  }

  /** Takes note of any other answer. */
  release({ origin }: URL, what: RequestClass): void {
    const key = keyOf(origin, what)
    const end = this.#ends.get(key)
    if (end !== undefined && end <= this.#clock()) this.#ends.delete(key)
  }
}

function keyOf(origin: string, what: RequestClass): string {
  return `${what} ${origin}`
}

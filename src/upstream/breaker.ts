// Whether an upstream is asked at all: after a few failures in a row it is left alone for a while, and whoever asks fails
// at once. Then one request, the probe, finds out whether it is back (P3, P7).
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'

export interface BreakerOptions {
  /** The upstream's, for sentences. */
  readonly host: string
  readonly logger: Logger
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
  /** From 0 to 1. */
  readonly random?: (() => number) | undefined
}

/** One request's leave to go ahead. Disposed of without a word, it proves nothing, and a probe's place is free again. */
export interface Passage extends Disposable {
  /**
   * Whether it is not to be waited for as long as usual: it is a probe. Probes that come late have all the time there is,
   * for the upstream may be back, and slow.
   */
  readonly isHurried: boolean
  succeed(): void
  fail(error: UpstreamError): void
}

/** Failures in a row. */
const failuresToOpen = 3

/** Milliseconds for which the upstream is left alone at first; doubled each time a probe fails. */
const firstCooldown = 1500
const longestCooldown = 30_000

/** The part of it by which a cooldown is longer or shorter, so that many of us do not come back at one moment. */
const jitter = 0.2

interface Opening {
  readonly reason: UpstreamError
  readonly until: number
  readonly cooldown: number
}

export class Breaker {
  readonly #host: string
  readonly #logger: Logger
  readonly #clock: () => number
  readonly #random: () => number
  #failures = 0
  #lastFailure: UpstreamError | undefined
  /** While it is open. */
  #opening: Opening | undefined
  #probe: Passage | undefined

  constructor({ host, logger, clock, random }: BreakerOptions) {
    this.#host = host
    this.#logger = logger
    this.#clock = clock ?? ((): number => performance.now())
    this.#random = random ?? Math.random
  }

  /** From the failure that was one too many until an answer comes. */
  get isOpen(): boolean {
    return this.#opening !== undefined
  }

  /** @throws UpstreamError, of the kind of the last failure, where the upstream is not to be asked now */
  enter(): Passage {
    const opening = this.#opening
    if (opening === undefined) return this.#passage(false)
    const wait = opening.until - this.#clock()
    if (wait > 0 || this.#probe !== undefined) throw this.#refusal(opening, wait)
    this.#probe = this.#passage(opening.cooldown < longestCooldown)
    return this.#probe
  }

  #passage(isHurried: boolean): Passage {
    const settle = (): boolean => {
      if (passage !== this.#probe) return false
      this.#probe = undefined
      return true
    }
    const passage: Passage = {
      isHurried,
      succeed: () => {
        settle()
        this.#close()
      },
      fail: (error) => this.#fail(error, settle()),
      [Symbol.dispose]: () => void settle(),
    }
    return passage
  }

  /** Any answer will do, also one to a request from before: the host lives. */
  #close(): void {
    this.#failures = 0
    if (this.#opening === undefined) return
    this.#opening = undefined
    this.#probe = undefined
    this.#logger.info({ host: this.#host }, 'upstream answers again')
  }

  #fail(error: UpstreamError, isProbe: boolean): void {
    if (this.#opening !== undefined) {
      // What was asked before it opened, and fails now, is no news.
      if (isProbe) this.#open(error, Math.min(longestCooldown, this.#opening.cooldown * 2))
      return
    }
    if (error === this.#lastFailure) return // several waited for the same token
    this.#lastFailure = error
    this.#failures += 1
    if (this.#failures < failuresToOpen) return
    this.#open(error, firstCooldown)
    this.#logger.warn({ host: this.#host, error }, 'upstream does not answer: it is asked only now and then')
  }

  #open(reason: UpstreamError, cooldown: number): void {
    const until = this.#clock() + cooldown * (1 + jitter * (2 * this.#random() - 1))
    this.#opening = { reason, until, cooldown }
  }

  #refusal({ reason }: Opening, wait: number): UpstreamError {
    const seconds = Math.max(1, Math.ceil(wait / 1000))
    const message = `${reason.message}; ${this.#host} has not answered lately, and is asked again in ${seconds} s`
    return new UpstreamError(reason.failure, this.#host, message, { retryAfter: seconds, cause: reason })
  }
}

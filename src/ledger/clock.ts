// The time that last uses are told in.

/** Time in which no process ran counts as this much at most, in milliseconds: the machine's clock may have been set since. */
const longestStop = 60 * 60_000

export interface KeptTime {
  /** What this clock said last. */
  readonly now: number
  /** What the machine's clock said then. */
  readonly wall: number
}

export interface ClockOptions {
  readonly kept: KeptTime | undefined
  /** Milliseconds since 1970, by a clock that may be set. */
  readonly wall: () => number
  /** Milliseconds, by a clock that never is. */
  readonly monotonic: () => number
}

/**
 * Goes on steadily, whatever happens to the machine's clock: setting that by years makes nothing old, and nothing new
 * older than what was there. No two answers are the same.
 */
export class LedgerClock {
  readonly #options: ClockOptions
  readonly #base: number
  readonly #startedAt: number
  #last = -Infinity

  constructor(options: ClockOptions) {
    const { kept, wall, monotonic } = options
    this.#options = options
    this.#startedAt = monotonic()
    this.#base = kept === undefined ? wall() : kept.now + Math.min(Math.max(0, wall() - kept.wall), longestStop)
  }

  now(): number {
    const now = this.#base + this.#options.monotonic() - this.#startedAt
    this.#last = Math.max(now, this.#last + 0.001)
    return this.#last
  }

  /** To be kept for the next process. */
  keep(): KeptTime {
    return { now: this.now(), wall: this.#options.wall() }
  }
}

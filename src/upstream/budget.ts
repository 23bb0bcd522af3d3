// The pulls that an upstream has left for us, as far as it says so: Docker Hub's `ratelimit-limit: 100;w=21600` and
// `ratelimit-remaining`, on manifests and on their HEAD, which costs nothing.
import type { Logger } from '../telemetry/logger.ts'

export interface BudgetOptions {
  /** The upstream's, for the log. */
  readonly host: string
  /** How many pulls are kept for what cannot wait. */
  readonly reserve: number
  readonly logger: Logger
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
}

/** Seconds, where the upstream does not say. */
const usualWindow = 6 * 3600
const longestWindow = 24 * 3600

export class Budget {
  readonly #options: BudgetOptions
  readonly #clock: () => number
  #known: { readonly left: number; readonly until: number } | undefined
  #isLow = false
  #isInReserve = false

  constructor(options: BudgetOptions) {
    this.#options = options
    this.#clock = options.clock ?? ((): number => performance.now())
  }

  /** What the last answer said, for as long as its window lasts. */
  get left(): number | undefined {
    return this.#known !== undefined && this.#clock() < this.#known.until ? this.#known.left : undefined
  }

  /** Takes note of an answer's headers, which most answers do not have. */
  note(limit: string | undefined, remaining: string | undefined): void {
    const left = parseQuota(remaining)
    if (left === undefined) return
    const whole = parseQuota(limit)
    const window = left.window ?? whole?.window ?? usualWindow
    this.#known = { left: left.count, until: this.#clock() + window * 1000 }
    this.#tell(left.count, whole?.count)
  }

  /** Each is said once, until there are more again. */
  #tell(left: number, limit: number | undefined): void {
    const { host, reserve, logger } = this.#options
    const isLow = limit !== undefined && left < limit / 10
    if (isLow && !this.#isLow) logger.info({ host, left, limit }, 'upstream has few pulls left for us')
    this.#isLow = isLow
    const isInReserve = left < reserve
    if (isInReserve && !this.#isInReserve) logger.info({ host, left, reserve }, 'pulls are down to the reserve')
    this.#isInReserve = isInReserve
  }
}

/** A count, and the seconds that it is for where it says so; `undefined` for all else. */
function parseQuota(header: string | undefined): { count: number; window: number | undefined } | undefined {
  const match = /^(\d{1,15})(?:\s*;\s*w=(\d{1,15}))?$/.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const window = Number(match[2] ?? 0)
  return { count: Number(match[1]), window: window > 0 ? Math.min(longestWindow, window) : undefined }
}

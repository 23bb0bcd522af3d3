// What the proxy counts: how its fills went, and how often an answer was served that may be out of date, by upstream.
import type { FillCounts } from './fills.ts'
import { titleOf, type Upstream } from './selection.ts'

export interface ProxyCounts {
  /** By what the upstream is called. */
  readonly staleAnswers: ReadonlyMap<string, number>
  readonly fills: FillCounts
}

/** Milliseconds in which an upstream's stale answers are said once. */
const silence = 60_000

export class StaleAnswers {
  readonly #now: () => number
  readonly #counts: Map<string, number>
  /** When they were last said, in milliseconds since 1970. */
  readonly #said = new Map<string, number>()

  constructor(upstreams: readonly Upstream[], now: () => number = Date.now) {
    this.#now = now
    this.#counts = new Map(upstreams.map((upstream) => [titleOf(upstream), 0]))
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  /** Counts one. @returns whether it is time to say so aloud */
  add(upstream: Upstream): boolean {
    const title = titleOf(upstream)
    this.#counts.set(title, (this.#counts.get(title) ?? 0) + 1)
    const now = this.#now()
    const said = this.#said.get(title)
    if (said !== undefined && now >= said && now - said < silence) return false
    this.#said.set(title, now)
    return true
  }
}

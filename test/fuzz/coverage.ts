// Which code has run, as V8 itself counts it (the inspector's precise coverage, by blocks). It knows of code that was loaded
// after `open` only: import what is to be measured then.
import { Session } from 'node:inspector/promises'

/** A part of a source file: from, to. */
type Interval = readonly [number, number]

export interface Measured {
  /** Code has run that had never run before, as far as it is remembered. */
  readonly isNew: boolean
  /** How many blocks have run, each as often as it did. */
  readonly steps: number
}

export class Coverage implements Disposable {
  readonly #session = new Session()
  readonly #isOurs: (url: string) => boolean
  /** Of each function that has run: what in it has not. */
  readonly #untouched = new Map<string, readonly Interval[]>()

  private constructor(isOurs: (url: string) => boolean) {
    this.#isOurs = isOurs
  }

  /** `isOurs`: files that count, by their URL. */
  static async open(isOurs: (url: string) => boolean): Promise<Coverage> {
    const coverage = new Coverage(isOurs)
    coverage.#session.connect()
    await coverage.#session.post('Profiler.enable')
    await coverage.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
    return coverage
  }

  /** What has run since it was asked last; `remembers`: from now on it is not new. */
  async take(remembers: boolean): Promise<Measured> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage')
    let isNew = false
    let steps = 0
    for (const { url, functions } of result.filter((script) => this.#isOurs(script.url))) {
      for (const { ranges } of functions) {
        const [whole] = ranges
        if (whole === undefined || whole.count === 0) continue
        steps += ranges.reduce((sum, { count }) => sum + count, 0)
        const key = `${url}:${whole.startOffset}-${whole.endOffset}`
        const skipped = ranges
          .filter(({ count }) => count === 0)
          .map((one): Interval => [one.startOffset, one.endOffset])
        const before = this.#untouched.get(key)
        const left = before === undefined ? skipped : common(before, skipped)
        if (before === undefined || size(left) < size(before)) isNew = true
        if (remembers) this.#untouched.set(key, left)
      }
    }
    return { isNew, steps }
  }

  [Symbol.dispose](): void {
    this.#session.disconnect()
  }
}

function common(some: readonly Interval[], others: readonly Interval[]): Interval[] {
  const found: Interval[] = []
  for (const [from, to] of some) {
    for (const [start, end] of others) {
      if (Math.max(from, start) < Math.min(to, end)) found.push([Math.max(from, start), Math.min(to, end)])
    }
  }
  return found
}

function size(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, [from, to]) => sum + to - from, 0)
}

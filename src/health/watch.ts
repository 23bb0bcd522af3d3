// Checks that run again and again, and the words of those that fail.
import { waitFor } from '../async/wait.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Look } from './checks.ts'

export interface Check {
  /** What an operator sees it called. */
  readonly name: string
  readonly look: Look
  /** Milliseconds between the end of one look and the next. */
  readonly interval: number
  /** Milliseconds after which a look has failed. */
  readonly timeout: number
  /** Failures in a row from which on it counts as failing; 0: from the first. */
  readonly threshold: number
}

/** One look at a time: while one hangs, whoever would look waits for that one. */
export function oneAtATime(look: Look): Look {
  let running: Promise<void> | undefined
  return async (signal) => {
    running ??= look(signal).finally(() => (running = undefined))
    await running
  }
}

/** Looks at one thing from its making to its disposal; until the first look has failed it is taken to be well. */
class Watched implements Disposable {
  readonly check: Check
  readonly #look: Look
  readonly #logger: Logger
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  /** Why it counts as failing. */
  failure: string | undefined

  constructor(check: Check, logger: Logger) {
    this.check = check
    this.#look = oneAtATime(check.look)
    this.#logger = logger
    void this.#run()
  }

  async #run(): Promise<void> {
    const { name, interval, timeout, threshold } = this.check
    try {
      await within(this.#look, timeout, this.#stop.signal)
      if (this.failure !== undefined) this.#logger.info({ check: name }, 'health check is well again')
      this.failure = undefined
      this.#failures = 0
    } catch (error) {
      if (this.#stop.signal.aborted) return
      this.#failures += 1
      if (this.#failures >= threshold) {
        if (this.failure === undefined) this.#logger.warn({ check: name, error }, 'health check fails')
        this.failure = wordsOf(error)
      }
    }
    if (this.#stop.signal.aborted) return
    this.#timer = setTimeout(() => void this.#run(), interval)
    this.#timer.unref()
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error('the server ends'))
    clearTimeout(this.#timer)
  }
}

export class Watch implements Disposable {
  readonly #watched: readonly Watched[]

  constructor(checks: readonly Check[], logger: Logger) {
    this.#watched = checks.map((check) => new Watched(check, logger))
  }

  /** By name, why checks fail now; nothing is looked at for it. */
  failures(): Record<string, string> {
    return Object.fromEntries(
      this.#watched.flatMap(({ check, failure }) => (failure === undefined ? [] : [[check.name, failure]])),
    )
  }

  [Symbol.dispose](): void {
    for (const watched of this.#watched) watched[Symbol.dispose]()
  }
}

/** Where a name has several addresses that all failed, Node says nothing itself: each of them does. */
function wordsOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(wordsOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}

/** Fails when the time is over, also where `look` does not heed its signal: it is then left to itself. */
export async function within(look: Look, timeout: number, stop: AbortSignal): Promise<void> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${timeout / 1000} s`)), timeout)
  const signal = AbortSignal.any([late.signal, stop])
  try {
    await waitFor(look(signal), signal)
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}

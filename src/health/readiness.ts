// Whether requests should be sent here: our own storage can be written, read and asked for a tag. Upstreams and redis are
// no part of it: what is here is served without them (T-100).
import type { Logger } from '../telemetry/logger.ts'
import type { Look } from './checks.ts'
import { oneAtATime, within } from './watch.ts'

export interface ReadinessOptions {
  readonly look: Look
  /** Milliseconds after which a look has failed. */
  readonly timeout: number
  /** Milliseconds for which an answer is given again. */
  readonly lifetime: number
  readonly logger: Logger
  /** A clock in milliseconds that never goes back; for tests. */
  readonly clock?: (() => number) | undefined
}

/** However often it is asked, one look runs at a time, and one that hangs is not joined by others. */
export class Readiness implements Disposable {
  readonly #options: ReadinessOptions
  readonly #look: Look
  readonly #clock: () => number
  readonly #stop = new AbortController()
  #last: { readonly at: number; readonly failure: string | undefined } | undefined
  #asking: Promise<string | undefined> | undefined
  #isDraining = false

  constructor(options: ReadinessOptions) {
    this.#options = options
    this.#look = oneAtATime(options.look)
    this.#clock = options.clock ?? ((): number => performance.now())
  }

  /** From now on nothing more is to be sent here. */
  drain(): void {
    this.#isDraining = true
  }

  /** Why nothing should be sent here; `undefined` where it may. */
  async failure(): Promise<string | undefined> {
    if (this.#isDraining) return 'the server ends'
    const { lifetime } = this.#options
    if (this.#last !== undefined && this.#clock() - this.#last.at < lifetime) return this.#last.failure
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
    return await this.#asking
  }

  async #ask(): Promise<string | undefined> {
    const { timeout, logger } = this.#options
    const before = this.#last?.failure
    let failure: string | undefined
    try {
      await within(this.#look, timeout, this.#stop.signal)
      if (before !== undefined) logger.info('storage is ready again')
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error)
      if (before === undefined && !this.#stop.signal.aborted) logger.error({ error }, 'storage is not ready')
    }
    this.#last = { at: this.#clock(), failure }
    return failure
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error('the server ends'))
  }
}

// Storage that does not take what was fetched: clients get their bytes all the same, and the log hears of it once.
import type { Logger } from '../telemetry/logger.ts'

/** Milliseconds in which it is said once: a disk that is full takes small files now and then. */
const silence = 60_000

export class StorageTrouble {
  readonly #logger: Logger
  readonly #now: () => number
  #isKnown = false
  /** When it was last said, in milliseconds since 1970. */
  #said = -Infinity

  constructor(logger: Logger, now: () => number = Date.now) {
    this.#logger = logger
    this.#now = now
  }

  failed(error: unknown, fields: Readonly<Record<string, unknown>>): void {
    const now = this.#now()
    const isNews = !this.#isKnown && (now < this.#said || now - this.#said >= silence)
    if (isNews) {
      this.#isKnown = true
      this.#said = now
    }
    const level = isNews ? 'error' : 'debug'
    this.#logger[level]({ ...fields, error }, 'storage fails: what is fetched is passed through and not kept')
  }

  works(): void {
    if (this.#isKnown) this.#logger.info({}, 'storage works again')
    this.#isKnown = false
  }
}

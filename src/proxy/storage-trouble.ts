// Storage that does not take what was fetched: clients get their bytes all the same, and the log hears of it once.
import type { Logger } from '../telemetry/logger.ts'

export class StorageTrouble {
  readonly #logger: Logger
  #isKnown = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  failed(error: unknown, fields: Readonly<Record<string, unknown>>): void {
    const level = this.#isKnown ? 'debug' : 'error'
    this.#isKnown = true
    this.#logger[level]({ ...fields, error }, 'storage fails: what is fetched is passed through and not kept')
  }

  works(): void {
    if (this.#isKnown) this.#logger.info({}, 'storage works again')
    this.#isKnown = false
  }
}

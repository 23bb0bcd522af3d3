// Refusals, remembered for a moment: whoever asks again at once hears the same, and a token server that is asked with
// wrong credentials again and again locks the account.
import { createHash } from 'node:crypto'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Credentials } from './credentials.ts'

export interface RefusalsOptions {
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
  /** How many are remembered. */
  readonly limit?: number | undefined
}

/** Milliseconds. */
export const refusalLifetime = 30_000

export class Refusals {
  readonly #clock: () => number
  readonly #limit: number
  /** The oldest first. */
  readonly #known = new Map<string, { readonly error: UpstreamError; readonly until: number }>()

  constructor(options: RefusalsOptions = {}) {
    this.#clock = options.clock ?? ((): number => performance.now())
    this.#limit = options.limit ?? 1000
  }

  /** Other credentials for the same thing have a chance of their own. @throws UpstreamError as the last refusal, without its status */
  check(what: string, credentials: Credentials): void {
    const key = keyOf(what, credentials)
    const known = this.#known.get(key)
    if (known === undefined) return
    if (this.#clock() >= known.until) return void this.#known.delete(key)
    const { failure, host, message } = known.error
    throw new UpstreamError(failure, host, message, { cause: known.error })
  }

  remember(what: string, credentials: Credentials, error: UpstreamError): void {
    const key = keyOf(what, credentials)
    this.#known.delete(key)
    this.#known.set(key, { error, until: this.#clock() + refusalLifetime })
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.#limit) break
      this.#known.delete(oldest)
    }
  }
}

/** A digest: secrets are not kept longer than they are in use. */
function keyOf(what: string, credentials: Credentials): string {
  return createHash('sha256')
    .update(JSON.stringify([what, credentials]))
    .digest('base64')
}

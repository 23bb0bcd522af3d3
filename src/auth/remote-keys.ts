// Keys that are fetched (a JWKS URL), kept, and fetched again when they are old or one is named that is not among them.
import { Coalescer } from '../async/coalesce.ts'
import { collect } from '../bytes/stream.ts'
import { RegistryError } from '../oci/error.ts'
import type { Logger } from '../telemetry/logger.ts'
import { KeyError, parseKeySet, type TrustedKey } from './trusted-keys.ts'

export interface RemoteKeysOptions {
  readonly url: URL
  readonly logger: Logger
  /** A clock in milliseconds that never goes back; for tests. */
  readonly clock?: (() => number) | undefined
}

const maxAnswer = 256 * 1024
const patience = 10_000

/** Milliseconds. */
const ages = {
  /** From then on they are fetched anew, while those that are here serve. */
  old: 10 * 60_000,
  /** From then on they are no longer trusted: one of them may have been withdrawn. */
  tooOld: 24 * 60 * 60_000,
  /** So long nothing is fetched again, whatever clients name, and however it went. */
  pause: 10_000,
} as const

export class RemoteKeys {
  readonly #url: URL
  readonly #logger: Logger
  readonly #clock: () => number
  readonly #fetches = new Coalescer<void>()
  #keys: ReadonlyMap<string, TrustedKey> = new Map()
  #fetchedAt = -Infinity
  #askedAt = -Infinity
  #isTold = false

  constructor({ url, logger, clock = () => performance.now() }: RemoteKeysOptions) {
    this.#url = url
    this.#logger = logger
    this.#clock = clock
  }

  /** @throws RegistryError UNAVAILABLE where there are none to look among */
  async find(kid: string): Promise<TrustedKey | undefined> {
    const age = this.#clock() - this.#fetchedAt
    if (age >= ages.tooOld || !this.#keys.has(kid)) await this.refresh()
    else if (age >= ages.old) void this.refresh()
    if (this.#clock() - this.#fetchedAt >= ages.tooOld) {
      throw new RegistryError('UNAVAILABLE', 'the keys that tokens are checked with cannot be had', { retryAfter: 30 })
    }
    return this.#keys.get(kid)
  }

  /** Never fails: that the keys cannot be had is told of once, until they can. */
  async refresh(): Promise<void> {
    await this.#fetches.run('fetch', async () => {
      if (this.#clock() - this.#askedAt < ages.pause) return
      this.#askedAt = this.#clock()
      try {
        this.#keys = await this.#fetch()
        this.#fetchedAt = this.#clock()
        this.#isTold = false
      } catch (error) {
        if (!this.#isTold) this.#logger.warn({ error, host: this.#url.host }, 'the keys of tokens cannot be fetched')
        this.#isTold = true
      }
    })
  }

  async #fetch(): Promise<ReadonlyMap<string, TrustedKey>> {
    const headers = { accept: 'application/jwk-set+json, application/json', 'accept-encoding': 'identity' }
    const response = await fetch(this.#url, { headers, redirect: 'error', signal: AbortSignal.timeout(patience) })
    const { body, status } = response
    if (status !== 200 || body === null) {
      await body?.cancel()
      throw new KeyError(`the answer is ${status}`)
    }
    return parseKeySet((await collect(body, maxAnswer)).toString('utf8'), { allowsSecrets: false })
  }
}

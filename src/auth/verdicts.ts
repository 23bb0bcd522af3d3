// What upstreams have said of clients, remembered for a moment: under a key that tells nobody what the credentials were.
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import { RegistryError } from '../oci/error.ts'
import type { CallerCredentials, CallerVerdict, ClaimedRepository, AskedObject } from '../registry/caller-rights.ts'
import { UpstreamError } from '../registry/upstream-error.ts'

export interface VerdictsOptions {
  /** A clock in milliseconds that never goes back; for tests. */
  readonly clock?: (() => number) | undefined
}

/** Milliseconds for which a yes, and a no, counts: as long may somebody pull on who may no more, or wait who may now. */
const lifetimes = { yes: 60_000, no: 10_000 } as const
const maxRemembered = 10_000

/** Questions to upstreams that run at once, whoever asks. */
const maxRunning = 256

interface Remembered {
  /** Or why there is none. */
  readonly verdict: boolean | RegistryError
  readonly until: number
}

export class Verdicts {
  readonly #clock: () => number
  readonly #key = createSecretKey(randomBytes(32)) // ten times as fast as the bytes themselves
  readonly #known = new LRUCache<string, Remembered>({ max: maxRemembered })
  readonly #questions = new Coalescer<boolean>()
  #running = 0

  constructor({ clock = () => performance.now() }: VerdictsOptions = {}) {
    this.#clock = clock
  }

  /**
   * Whether the upstream lets whoever has these credentials pull what is asked for.
   * @throws RegistryError UNAVAILABLE, TOOMANYREQUESTS where there is no telling: then nobody may
   */
  async mayPull(
    { upstream, repository, rights }: ClaimedRepository,
    object: AskedObject | undefined,
    credentials: CallerCredentials,
  ): Promise<boolean> {
    const all = this.#keyOf(upstream, repository, credentials)
    const one = this.#keyOf(upstream, repository, credentials, object)
    const known = this.#find(all) ?? this.#find(one)
    if (known instanceof RegistryError) throw known
    if (known !== undefined) return known
    return await this.#questions.run(one, async () => {
      try {
        const { mayPull, isForAll } = await this.#bounded(
          async () => await rights.ask({ repository, object, credentials }),
        )
        this.#remember(isForAll ? all : one, mayPull, mayPull ? lifetimes.yes : lifetimes.no)
        return mayPull
      } catch (error) {
        const failure = clientError(error)
        if (failure.code === 'TOOMANYREQUESTS' && error !== failure) this.#remember(one, failure, lifetimes.no)
        throw failure
      }
    })
  }

  async #bounded(question: () => Promise<CallerVerdict>): Promise<CallerVerdict> {
    if (this.#running === maxRunning) {
      throw new RegistryError('TOOMANYREQUESTS', 'too many clients are being asked for', { retryAfter: 1 })
    }
    this.#running += 1
    try {
      return await question()
    } finally {
      this.#running -= 1
    }
  }

  #find(key: string): boolean | RegistryError | undefined {
    const known = this.#known.get(key)
    return known === undefined || this.#clock() >= known.until ? undefined : known.verdict
  }

  #remember(key: string, verdict: boolean | RegistryError, lifetime: number): void {
    this.#known.set(key, { verdict, until: this.#clock() + lifetime })
  }

  #keyOf(...parts: readonly unknown[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(parts)).digest('base64')
  }
}

/** @throws whatever is no upstream's failure */
function clientError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  if (!(error instanceof UpstreamError)) throw error
  const { failure, message, retryAfter } = error
  const code = failure === 'rate-limited' ? 'TOOMANYREQUESTS' : 'UNAVAILABLE'
  return new RegistryError(code, `nobody can say whether you may pull this: ${message}`, { cause: error, retryAfter })
}

// What happens on storage, gathered in memory until it is worth a transaction.
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Fact, UsageLog } from '../registry/usage.ts'
import type { Event, Ledger } from './ledger.ts'

/** Events and uses that are gathered, in milliseconds and at most. */
const patience = 2000
const maxWaiting = 1000

export interface Reader {
  readonly ledger: Ledger
  /** Called when what was told may have made the store too large. */
  readonly onGrowth: () => void
  /** Called, once, where the ledger cannot be written. */
  readonly onFailure: (error: unknown) => void
}

/**
 * Costs nothing but a place in memory for each thing that happens. As long as nobody reads, nothing is kept: whoever
 * begins to read surveys the store afterwards.
 */
export class UsageRecorder implements UsageLog {
  #reader: Reader | undefined
  #events: Event[] = []
  #grown = 0
  readonly #uses = new Map<string, { readonly repository: RepositoryName; readonly digest: Digest; used: number }>()
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Immediate | undefined

  /** From now on, what happens is told to this ledger; `undefined`: to none. What was told before is forgotten. */
  attach(reader: Reader | undefined): void {
    this.#reader = reader
    this.#events = []
    this.#uses.clear()
    this.#grown = 0
  }

  /** Whether all that happens is told to this ledger. */
  isReading(ledger: Ledger): boolean {
    return this.#reader?.ledger === ledger
  }

  note(fact: Fact): void {
    if (this.#reader === undefined) return
    this.#events.push({ fact, at: this.#reader.ledger.now() })
    if (fact.kind === 'stored') this.#grown += fact.size
    const isLarge = this.#grown > 0 && this.#reader.ledger.isFull(this.#grown)
    this.#schedule(isLarge || this.#events.length >= maxWaiting)
  }

  used(repository: RepositoryName, digest: Digest): void {
    if (this.#reader === undefined) return
    const key = `${repository}@${digest}`
    const known = this.#uses.get(key)
    const used = this.#reader.ledger.now()
    if (known === undefined) this.#uses.set(key, { repository, digest, used })
    else known.used = used
    this.#schedule(this.#uses.size >= maxWaiting)
  }

  /** Tells the ledger at once. Does not throw: `onFailure` hears of it. */
  flush(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#soon)
    this.#timer = undefined
    this.#soon = undefined
    const reader = this.#reader
    if (reader === undefined || (this.#events.length === 0 && this.#uses.size === 0)) return
    const events = this.#events
    const uses = [...this.#uses.values()]
    this.#events = []
    this.#uses.clear()
    this.#grown = 0
    try {
      reader.ledger.write(events, uses)
    } catch (error) {
      this.attach(undefined)
      reader.onFailure(error)
      return
    }
    if (reader.ledger.isFull(0)) reader.onGrowth()
  }

  #schedule(isUrgent: boolean): void {
    const flush = (): void => this.flush()
    if (isUrgent) this.#soon ??= setImmediate(flush)
    else this.#timer ??= setTimeout(flush, patience).unref()
  }
}

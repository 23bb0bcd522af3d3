// Keeps a store within its bounds: what was not used for longest goes, until there is room again.
import { setImmediate, setTimeout } from 'node:timers/promises'
import { deferred } from '../async/deferred.ts'
import { waitFor } from '../async/wait.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CacheLog } from '../registry/cache-log.ts'
import type { Collections, EvictableStore, Fact } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ClockOptions } from './clock.ts'
import { isDamage, LedgerBusyError, type LedgerPlace } from './database.ts'
import { Failures } from './failures.ts'
import { Ledger } from './ledger.ts'
import { Pins } from './pins.ts'
import type { UsageRecorder } from './recorder.ts'
import { Removal, type Tally } from './removal.ts'

/** Where eviction begins, it goes on until this part of the bound is used. */
const enough = 0.95

/**
 * What was used in the last so many milliseconds is left alone: a client that has a manifest asks for its layers next, and
 * what is being stored is not tagged yet.
 */
const flight = 2000

/** How often the time to live is looked at, give or take a fifth; and when to try again what could not be done. */
const interval = 5 * 60_000
const retryTime = 60_000
const busyTime = 10_000
const longestRetry = 60 * 60_000

/** How long a trouble that comes and goes is not told again. */
const silence = 60 * 60_000

/** How long what is known of the storage is believed: other processes may collect garbage there. */
const surveyAge = 24 * 60 * 60_000

/** How often a survey says how far it is: a million blobs take minutes. */
const progressTime = 60_000

/** Whatever is linked where nobody can look would seem to be nobody's: no blob at all can go without it. */
const unsurveyed = 'nothing is evicted: a part of the storage cannot be read; let this user read it, or mount it'

/** Facts of a survey that are written down in one go: clients wait that long. */
const batchSize = 50

export interface EvictorOptions {
  readonly store: EvictableStore
  readonly recorder: UsageRecorder
  /** Where the ledger lies; `undefined`: in memory. */
  readonly folder: string | undefined
  /** Bytes that may be stored; `undefined`: any number. */
  readonly maxSize: number | undefined
  /** Milliseconds without use after which content goes; 0: it stays. */
  readonly ttl: number
  /** Whether a repository can be pulled again: all else stays. */
  readonly isCopy: (repository: RepositoryName) => boolean
  /** Globs of repositories, or of `repository:tag`, that stay. */
  readonly pins: readonly string[]
  /** Who is told what goes. */
  readonly cacheLog?: CacheLog | undefined
  readonly logger: Logger
  readonly clocks?: Pick<ClockOptions, 'wall' | 'monotonic'> | undefined
}

/** Counts since the start, and what is known to be stored now. */
export interface EvictionCounts {
  readonly images: number
  readonly blobs: number
  readonly bytes: number
  /** Bytes of all blobs that are stored; `undefined` until a survey has found out. */
  readonly size: number | undefined
}

/** Works in the background from its making to its disposal. Nothing waits for it, and it never fails. */
export class Evictor implements AsyncDisposable {
  readonly #options: EvictorOptions
  readonly #clocks: Pick<ClockOptions, 'wall' | 'monotonic'>
  readonly #stop = new AbortController()
  readonly #life: Promise<void>
  #isResting = false
  /** In a row. */
  #failedSurveys = 0
  /** Settled to have a round begin. */
  #asked = deferred()
  /** Settled when the round that begins next has ended. */
  #done = deferred()
  /** What was said, and when: it is not repeated as long as it is so, nor for an hour. */
  readonly #said = new Map<string, number>()
  readonly #total: Tally = { images: 0, blobs: 0, bytes: 0 }
  /** The one that is kept, and knows all. */
  #ledger: Ledger | undefined

  constructor(options: EvictorOptions) {
    this.#options = options
    this.#clocks = options.clocks ?? { wall: () => Date.now(), monotonic: () => performance.now() }
    this.#life = this.#live()
  }

  counts(): EvictionCounts {
    return { ...this.#total, size: this.#ledger?.size }
  }

  /** Has a round begin as soon as that can be, and waits for its end. */
  async run(): Promise<void> {
    this.#asked.resolve()
    await waitFor(this.#done.promise, this.#stop.signal)
  }

  /**
   * Takes away nothing more, and keeps the ledger until its disposal: another server may be starting on the same folder,
   * whose links nobody tells here.
   */
  rest(): void {
    this.#isResting = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the evictor stops'))
    await this.#life
  }

  async #live(): Promise<void> {
    const { logger } = this.#options
    await setImmediate() // whoever starts a server does not wait for the file
    let place: LedgerPlace = 'as it is'
    while (!this.#isStopped()) {
      try {
        await this.#keep(place)
        place = 'as it is'
      } catch (error) {
        if (this.#isStopped()) return
        if (error instanceof LedgerBusyError) {
          this.#sayOnce('busy', () => logger.warn({ error }, 'nothing is evicted: another process keeps the ledger'))
          await this.#pause(busyTime)
        } else if (error instanceof CollectionError) {
          this.#sayOnce('collection', () => logger.info('nothing is evicted while garbage is collected'))
          await this.#pause(busyTime)
        } else if (error instanceof SurveyError) {
          this.#sayOnce('survey', () => logger.warn({ error }, unsurveyed))
          await this.#pause(Math.min(retryTime * 2 ** this.#failedSurveys++, longestRetry))
        } else {
          // A second failure in a row is the disk's, which may be full: then it is eviction that helps.
          const next: LedgerPlace = place === 'as it is' && isDamage(error) ? 'anew' : 'in memory'
          logger.warn({ error, place: next }, 'ledger failed, and is made again')
          if (place === 'in memory') await this.#pause(retryTime)
          place = next
        }
      }
    }
  }

  /** Keeps one ledger until we stop, or it is time to look at the whole storage again. */
  async #keep(place: LedgerPlace): Promise<void> {
    const { recorder, folder, maxSize, isCopy, pins, logger } = this.#options
    const clocks = this.#clocks
    using ledger = Ledger.open({ folder, place, maxSize: maxSize ?? Infinity, isCopy, pins: new Pins(pins), clocks })
    if (ledger.damage !== undefined) logger.warn({ error: ledger.damage }, 'damaged ledger thrown away')
    const failed = deferred<never>()
    recorder.attach({ ledger, onGrowth: () => this.#asked.resolve(), onFailure: (error) => failed.reject(error) })
    try {
      const until = ledger.now() + surveyAge
      const { last } = await this.#survey(ledger)
      this.#ledger = ledger
      this.#failedSurveys = 0
      for (const said of ['busy', 'collection', 'survey']) this.#unsay(said)
      for (;;) {
        recorder.flush()
        if (await this.#isOutdated(ledger, until, last)) return
        const done = this.#done
        this.#done = deferred()
        this.#asked = deferred()
        let pause = 0
        try {
          pause = await this.#round(ledger)
        } finally {
          done.resolve()
        }
        await this.#wait(pause, this.#asked.promise, failed.promise)
      }
    } catch (error) {
      if (!recorder.isReading(ledger)) await failed.promise // that came first
      throw error
    } finally {
      this.#ledger = undefined
      recorder.flush()
      if (recorder.isReading(ledger)) ledger.keepTime()
      recorder.attach(undefined)
    }
  }

  /** Whether to survey again before anything else goes. Not while garbage is collected: that survey would be in vain. */
  async #isOutdated(ledger: Ledger, until: number, last: number | undefined): Promise<boolean> {
    try {
      const collections = await this.#options.store.collections()
      if (collections.isRunning) return false
      return ledger.now() >= until || (collections.last !== last && ledger.isFull(0))
    } catch (error) {
      this.#sayOnce('disk', () => this.#options.logger.warn({ error }, 'it is not known whether garbage is collected'))
      return ledger.now() >= until
    }
  }

  async #collections(): Promise<Collections> {
    try {
      return await this.#options.store.collections()
    } catch (cause) {
      throw new SurveyError('it is not known whether garbage is collected', { cause })
    }
  }

  /**
   * Learns what is stored, while it is used.
   * @throws CollectionError where garbage was collected meanwhile: links may have been out of their places, and nobody
   * tells that they are back
   * @returns which collections it knows
   */
  async #survey(ledger: Ledger): Promise<Collections> {
    const { store, logger } = this.#options
    const { signal } = this.#stop
    const { monotonic } = this.#clocks
    const startedAt = monotonic()
    let toldAt = startedAt
    const before = await this.#collections()
    if (before.isRunning) throw new CollectionError('garbage is being collected')
    logger.info('survey of the storage begins')
    let batch: Fact[] = []
    const flush = async (): Promise<void> => {
      ledger.writeFound(batch)
      batch = []
      await setImmediate()
    }
    for await (const fact of translated(store.survey({ signal }))) {
      if (batch.push(fact) < batchSize) continue
      await flush()
      this.#check(ledger)
      if (monotonic() - toldAt < progressTime) continue
      toldAt = monotonic()
      const ms = Math.round(toldAt - startedAt)
      logger.info({ blobs: ledger.blobs, bytes: ledger.size, ms }, 'survey of the storage goes on')
    }
    await flush()
    const after = await this.#collections()
    if (after.isRunning || after.last !== before.last) throw new CollectionError('garbage was collected meanwhile')
    for (let use = ledger.prune(undefined); use !== undefined; use = ledger.prune(use)) await setImmediate()
    ledger.complete()
    const ms = Math.round(monotonic() - startedAt)
    logger.info({ blobs: ledger.blobs, bytes: ledger.size, ms }, 'survey of the storage done')
    return after
  }

  /** @returns how long to wait for the next one */
  async #round(ledger: Ledger): Promise<number> {
    const { store, ttl, maxSize = Infinity, recorder, cacheLog, logger } = this.#options
    const tally: Tally = { images: 0, blobs: 0, bytes: 0 }
    const removal = new Removal({
      store,
      recorder,
      ledger,
      cacheLog,
      isResting: () => this.#isResting,
      check: () => this.#check(ledger),
      tallies: [tally, this.#total],
    })
    const startedAt = performance.now()
    try {
      recorder.flush()
      ledger.keepTime()
      const idle = await removal.freeIdle()
      const evicted = new Failures()
      const expiry = ttl === 0 ? undefined : ledger.expiry(ttl)
      if (expiry !== undefined) await removal.evict(expiry, () => true, evicted)
      const isTooLarge = (): boolean => ledger.size > maxSize * enough
      if (ledger.isFull(0)) await removal.evict(ledger.now() - flight, isTooLarge, evicted)
      const error = evicted.first ?? idle.first
      if (error !== undefined) {
        this.#sayOnce('disk', () => logger.warn({ error }, 'content could not be removed'))
        return retryTime
      }
      this.#unsay('disk')
    } finally {
      const ms = Math.round(performance.now() - startedAt)
      const fields = { ...tally, ms, size: ledger.size, maxsize: this.#options.maxSize }
      if (tally.images + tally.blobs > 0) logger.info(fields, 'evicted')
    }
    if (!ledger.isFull(0)) this.#unsay('full')
    else if (ledger.hasMore()) return flight
    else {
      const fields = { size: ledger.size, maxsize: maxSize }
      this.#sayOnce('full', () => logger.warn(fields, 'larger than maxsize, and all of it is hosted or pinned'))
    }
    return interval * (0.8 + Math.random() * 0.4)
  }

  /** @throws where we are to stop, or the ledger does not hear what happens any more */
  #check(ledger: Ledger): void {
    this.#stop.signal.throwIfAborted()
    if (!this.#options.recorder.isReading(ledger)) throw new Error('the ledger has failed')
  }

  #sayOnce(what: string, say: () => void): void {
    if (this.#said.has(what)) return
    this.#said.set(what, performance.now())
    say()
  }

  /** It is not so any more. */
  #unsay(what: string): void {
    if (performance.now() - (this.#said.get(what) ?? 0) > silence) this.#said.delete(what)
  }

  /** Until it is asked for a round, or it is time for one. */
  async #wait(time: number, asked: Promise<void>, failed: Promise<never>): Promise<void> {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, this.#stop.signal])
    try {
      await Promise.race([asked, failed, setTimeout(time, undefined, { signal, ref: false })])
    } finally {
      over.abort()
    }
  }

  async #pause(time: number): Promise<void> {
    try {
      await setTimeout(time, undefined, { signal: this.#stop.signal, ref: false })
    } catch (error) {
      if (!this.#isStopped()) throw error
    }
  }

  #isStopped(): boolean {
    return this.#stop.signal.aborted
  }
}

class SurveyError extends Error {
  override readonly name = 'SurveyError'
}

class CollectionError extends Error {
  override readonly name = 'CollectionError'
}

async function* translated(facts: AsyncIterable<Fact>): AsyncGenerator<Fact, void> {
  try {
    yield* facts
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SurveyError(`not all of the storage can be read: ${why}`, { cause })
  }
}

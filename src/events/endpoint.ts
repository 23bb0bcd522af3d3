// One endpoint: what it wants to hear, what waits for it, and its deliveries, one after the other in their order. It waits
// for nobody else, and nobody waits for it.
import { STATUS_CODES } from 'node:http'
import { deferred } from '../async/deferred.ts'
import type { Logger } from '../telemetry/logger.ts'
import { eventMediaTypes, type Event, type EventKind } from './event.ts'
import type { KeptQueue } from './kept-queue.ts'
import type { Poster } from './post.ts'
import type { NumberedEvent, QueuedEvent } from './queue.ts'

export interface EndpointSettings {
  /** No two share one. */
  readonly name: string
  /** Failures in a row after which each next try waits for `backoff` milliseconds. */
  readonly threshold: number
  readonly backoff: number
  readonly ignoredMediaTypes: readonly string[]
  readonly ignoredActions: readonly string[]
  /** Whether it is told what becomes of the cache. */
  readonly cache: boolean
}

export interface QueueBounds {
  readonly maxEvents: number
  /** Bytes of their envelopes. */
  readonly maxSize: number
}

export interface EndpointCounts {
  readonly name: string
  /** Events that wait now. */
  readonly pending: number
  /** Events that were taken into the queue since the start. */
  readonly events: number
  readonly successes: number
  /** Answers that were no success, and tries that brought none. */
  readonly failures: number
  readonly errors: number
  /** Events that found no room. */
  readonly dropped: number
  /** By `200 OK`; what has no name of its own is `other`. */
  readonly statuses: Readonly<Record<string, number>>
}

export interface EndpointOptions {
  readonly settings: EndpointSettings
  readonly bounds: QueueBounds
  readonly queue: KeptQueue
  readonly poster: Pick<Poster, 'post'>
  /** Resolves after so many milliseconds; rejects where the signal fires before. */
  readonly wait: (milliseconds: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds, by a clock that never is set. */
  readonly now: () => number
  readonly logger: Logger
}

/** Milliseconds for which events that are dropped are said once, whether or not there is room in between. */
const silence = 60_000

export class Endpoint {
  readonly #options: EndpointOptions
  readonly #ignoredMediaTypes: ReadonlySet<string>
  readonly #ignoredActions: ReadonlySet<string>
  readonly #statuses: Record<string, number> = {}
  readonly #life: Promise<void>
  readonly #stop = new AbortController()
  /** In the queue, and on its way into it. */
  #stored: Size
  #coming: Size = none
  /** Grows when the queue begins anew. */
  #generation = 0
  #events = 0
  #successes = 0
  #failures = 0
  #errors = 0
  #dropped = 0
  /** Events that found no room since there was room last. */
  #droppedNow = 0
  #droppingSince = 0
  #isDraining = false
  /** All up to here have been delivered. */
  #delivered = 0
  #failuresInARow = 0
  #news = deferred()

  constructor(options: EndpointOptions) {
    this.#options = options
    const { settings } = options
    this.#ignoredMediaTypes = new Set(settings.ignoredMediaTypes)
    this.#ignoredActions = new Set(settings.ignoredActions)
    this.#stored = options.queue.pending(settings.name)
    this.#life = this.#live()
  }

  wants({ kind, action, target }: Event): boolean {
    if (kind === 'cache' && !this.#options.settings.cache) return false
    if (this.#ignoredActions.has(action)) return false
    return target.mediaType === undefined || !this.#ignoredMediaTypes.has(target.mediaType)
  }

  /** Makes room for an event that is written down next; `undefined` where there is none. */
  admit(kind: EventKind, body: string): QueuedEvent | undefined {
    const { settings, bounds } = this.#options
    const { events, bytes } = sum(sum(this.#stored, this.#coming), sizeOf(body))
    if (events > bounds.maxEvents || bytes > bounds.maxSize) {
      this.#drop('the queue of an endpoint is full: events are dropped')
      return undefined
    }
    this.#coming = sum(this.#coming, sizeOf(body))
    return { endpoint: settings.name, kind, body }
  }

  /** What was admitted is in the queue. */
  written({ body }: QueuedEvent): void {
    const before = this.#stored
    this.#coming = sum(this.#coming, sizeOf(body), -1)
    this.#stored = sum(before, sizeOf(body))
    this.#events += 1
    this.#news.resolve()
    if (this.#droppedNow > 0) this.#sayRoom(before)
  }

  /** It could not be put there. */
  lost({ body }: QueuedEvent, error: unknown): void {
    this.#coming = sum(this.#coming, sizeOf(body), -1)
    this.#drop('events cannot be kept: they are dropped', error)
  }

  /** What was in the queue is gone. */
  renewed(): void {
    this.#generation += 1
    this.#delivered = 0
    this.#dropped += this.#stored.events
    this.#stored = none
  }

  counts(): EndpointCounts {
    return {
      name: this.#options.settings.name,
      pending: this.#stored.events + this.#coming.events,
      events: this.#events,
      successes: this.#successes,
      failures: this.#failures,
      errors: this.#errors,
      dropped: this.#dropped,
      statuses: { ...this.#statuses },
    }
  }

  /** Delivers what waits as long as that succeeds. Resolves when nothing is being delivered any more. */
  async drain(): Promise<void> {
    this.#isDraining = true
    this.#news.resolve()
    if (this.#failuresInARow > 0) this.#stop.abort(new Error('the endpoint fails'))
    await this.#life
  }

  /** Breaks off what runs: it is delivered again by the next process. */
  stop(): void {
    this.#stop.abort(new Error('the server stops'))
  }

  async #live(): Promise<void> {
    const { settings, queue, wait } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.#news = deferred()
      const next = queue.next(settings.name, this.#delivered)
      if (next === undefined) {
        if (this.#isDraining) return
        await this.#news.promise
        continue
      }
      const generation = this.#generation
      if (await this.#deliver(next)) {
        this.#failuresInARow = 0
        if (generation === this.#generation) this.#forget(next)
      } else {
        if (this.#isDraining) return
        this.#failuresInARow += 1
        if (this.#failuresInARow >= settings.threshold) await wait(settings.backoff, signal).catch(() => {}) // stopped
      }
    }
  }

  #forget({ sequence, body }: NumberedEvent): void {
    const { settings, queue } = this.#options
    this.#delivered = sequence
    this.#stored = sum(this.#stored, sizeOf(body), -1)
    queue.remove(settings.name, sequence)
  }

  async #deliver({ kind, body }: NumberedEvent): Promise<boolean> {
    const { settings, poster, logger } = this.#options
    const mediaType = kind === 'cache' ? eventMediaTypes.cache : eventMediaTypes.registry
    let reason: { readonly status: number } | { readonly error: unknown }
    try {
      const status = await poster.post(mediaType, body, this.#stop.signal)
      this.#count(status)
      if (status >= 200 && status < 400) {
        this.#successes += 1
        if (this.#failuresInARow >= settings.threshold)
          logger.info({ endpoint: settings.name }, 'endpoint answers again')
        return true
      }
      this.#failures += 1
      reason = { status }
    } catch (error) {
      if (this.#stop.signal.aborted) return false
      this.#errors += 1
      reason = { error }
    }
    if (this.#failuresInARow + 1 === settings.threshold) {
      logger.warn({ endpoint: settings.name, ...reason }, 'endpoint fails: its events wait')
    }
    return false
  }

  #count(status: number): void {
    const name = STATUS_CODES[status]
    const key = name === undefined ? 'other' : `${status} ${name}`
    this.#statuses[key] = (this.#statuses[key] ?? 0) + 1
  }

  #drop(message: string, error?: unknown): void {
    const { settings, logger } = this.#options
    this.#dropped += 1
    this.#droppedNow += 1
    if (this.#droppedNow > 1) return
    this.#droppingSince = this.#options.now()
    logger.warn({ endpoint: settings.name, error }, message)
  }

  /** Room that comes and goes is none. */
  #sayRoom({ events, bytes }: Size): void {
    const { settings, bounds, now, logger } = this.#options
    if (events * 2 > bounds.maxEvents || bytes * 2 > bounds.maxSize || now() - this.#droppingSince < silence) return
    logger.info({ endpoint: settings.name, dropped: this.#droppedNow }, 'events are kept again')
    this.#droppedNow = 0
  }
}

interface Size {
  readonly events: number
  readonly bytes: number
}

const none: Size = { events: 0, bytes: 0 }

function sizeOf(body: string): Size {
  return { events: 1, bytes: Buffer.byteLength(body) }
}

function sum(one: Size, other: Size, sign: 1 | -1 = 1): Size {
  return { events: one.events + sign * other.events, bytes: one.bytes + sign * other.bytes }
}

// Gives every event to each endpoint that wants it. What is published in one turn of the event loop is written down
// together behind it: nobody waits for the disk, and a disk that fails costs events, never a request.
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { CacheLog, CacheNews } from '../registry/cache-log.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Endpoint, type EndpointCounts, type EndpointSettings, type QueueBounds } from './endpoint.ts'
import { envelopeOf, type Event, type Source, type Target } from './event.ts'
import { KeptQueue } from './kept-queue.ts'
import { Poster, type PostOptions } from './post.ts'
import type { QueuedEvent } from './queue.ts'

/** Milliseconds for which the end of the server waits for deliveries: what is left is delivered by the next one. */
const drainTimeout = 2000

export interface PublisherOptions {
  readonly endpoints: readonly (EndpointSettings & Pick<PostOptions, 'url' | 'headers' | 'timeout'>)[]
  readonly bounds: QueueBounds
  /** Where the queue lies; `undefined`: in memory. */
  readonly folder: string | undefined
  /** The port that is listened on, as configured. */
  readonly port: number
  readonly userAgent: string
  readonly logger: Logger
  /** How an endpoint that fails is waited for, and the time; for tests. */
  readonly wait?: ((milliseconds: number, signal: AbortSignal) => Promise<void>) | undefined
  readonly now?: (() => number) | undefined
}

/** Disposing it gives the endpoints a moment, and keeps what is left. */
export class Publisher implements CacheLog, AsyncDisposable {
  readonly #source: Source
  readonly #logger: Logger
  readonly #queue: KeptQueue
  readonly #posters: Poster[] = []
  readonly #endpoints: Endpoint[] = []
  /** Admitted, and not written down yet. */
  #batch: { readonly endpoint: Endpoint; readonly event: QueuedEvent }[] = []

  constructor(options: PublisherOptions) {
    const { endpoints, bounds, folder, port, userAgent, logger } = options
    const { wait = pause, now = (): number => performance.now() } = options
    this.#source = { addr: `${hostname()}:${port}`, instanceID: randomUUID() }
    this.#logger = logger
    this.#queue = new KeptQueue({
      folder,
      endpoints: endpoints.map(({ name }) => name),
      onRenewed: () => this.#endpoints.forEach((endpoint) => endpoint.renewed()),
      logger,
    })
    for (const settings of endpoints) {
      const poster = new Poster({ ...settings, userAgent })
      this.#posters.push(poster)
      this.#endpoints.push(new Endpoint({ settings, bounds, queue: this.#queue, poster, wait, now, logger }))
    }
  }

  /** At no cost, and never fails. */
  publish(event: Event): void {
    let body: string | undefined
    for (const endpoint of this.#endpoints) {
      if (!endpoint.wants(event)) continue
      body ??= envelopeOf(event, this.#source, new Date())
      const admitted = endpoint.admit(event.kind, body)
      if (admitted === undefined) continue
      if (this.#batch.push({ endpoint, event: admitted }) === 1) setImmediate(() => this.#write())
    }
  }

  note(news: CacheNews): void {
    this.publish({ kind: 'cache', action: news.action, target: targetOf(news) })
  }

  counts(): EndpointCounts[] {
    return this.#endpoints.map((endpoint) => endpoint.counts())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#write()
    const drained = Promise.all(this.#endpoints.map(async (endpoint) => await endpoint.drain()))
    const patience = new AbortController()
    await Promise.race([drained, pause(drainTimeout, patience.signal).catch(() => {})]) // called off, as it should be
    patience.abort()
    for (const endpoint of this.#endpoints) endpoint.stop()
    await drained
    await Promise.all(this.#posters.map(async (poster) => await poster[Symbol.asyncDispose]()))
    const pending = this.counts().reduce((sum, counts) => sum + counts.pending, 0)
    if (pending > 0 && this.#queue.isInMemory) this.#logger.warn({ events: pending }, 'events are lost')
    else if (pending > 0) this.#logger.info({ events: pending }, 'events wait for the next start')
    this.#queue[Symbol.dispose]()
  }

  #write(): void {
    const batch = this.#batch
    this.#batch = []
    if (batch.length === 0) return
    try {
      this.#queue.add(batch.map(({ event }) => event))
    } catch (error) {
      for (const { endpoint, event } of batch) endpoint.lost(event, error)
      return
    }
    for (const { endpoint, event } of batch) endpoint.written(event)
  }
}

function targetOf(news: CacheNews): Target {
  const { repository } = news
  if (news.action === 'evicted') return { digest: news.digest, repository }
  const { mediaType, size, digest } = news.descriptor
  const tag = news.action === 'fill' ? undefined : news.tag
  return { mediaType, size, digest, length: size, repository, tag, upstream: news.host }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal })
}

// What Prometheus is shown. The only import of prom-client, and only of a server that is asked to measure.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Handler } from '../http/exchange.ts'
import { readingsOf, type Reading, type Sources } from './readings.ts'
import { RequestMetrics } from './requests.ts'

/** What distribution calls what a driver does. */
const actions: Readonly<Record<string, string>> = {
  read: 'GetContent',
  write: 'PutContent',
  open: 'Reader',
  writer: 'Writer',
  stat: 'Stat',
  list: 'List',
  move: 'Move',
  remove: 'Delete',
}

export class Metrics {
  readonly requests: RequestMetrics
  readonly #register = new Registry()

  /** Begins to watch the event loop, which ends with the process. */
  constructor() {
    collectDefaultMetrics({ register: this.#register })
    this.requests = new RequestMetrics(this.#register)
    this.#add(this.requests.readings())
  }

  /** Takes the seconds that each call of a storage driver takes. */
  storageObserver(driver: string): (action: string, seconds: number) => void {
    const histogram = new Histogram({
      name: 'registry_storage_action_seconds',
      help: 'How long calls of the storage driver take; of a file that is read or written, its opening',
      labelNames: ['driver', 'action'],
      registers: [this.#register],
    })
    const children = new Map(
      Object.entries(actions).map(([method, action]) => [method, histogram.labels({ driver, action })]),
    )
    return (method, seconds) => children.get(method)?.observe(seconds)
  }

  read(sources: Sources): void {
    this.#add(readingsOf(sources))
  }

  /** The exposition. */
  get page(): Handler {
    return async () => {
      const headers = { 'content-type': this.#register.contentType, 'cache-control': 'no-store' }
      return { status: 200, headers, body: Buffer.from(await this.#register.metrics()) }
    }
  }

  #add(readings: readonly Reading[]): void {
    for (const { name, help, kind, labels, read } of readings) {
      const shared = { name, help, labelNames: [...labels], registers: [] }
      if (kind === 'gauge') {
        const gauge = new Gauge({
          ...shared,
          collect() {
            this.reset()
            this.remove({}) // without labels it would be 0 where nothing is known
            for (const sample of read()) this.set(sample.labels, sample.value)
          },
        })
        this.#register.registerMetric(gauge)
      } else {
        const counter = new Counter({
          ...shared,
          collect() {
            this.reset()
            for (const sample of read()) this.inc(sample.labels, sample.value)
          },
        })
        this.#register.registerMetric(counter)
      }
    }
  }
}

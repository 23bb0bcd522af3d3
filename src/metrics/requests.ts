// Clients' requests, measured at their end. Labels are ours: kinds of routes, methods and statuses that there are, names of
// upstreams that are configured.
import { Histogram, type Registry } from 'prom-client'
import type { Request } from '../http/exchange.ts'
import type { ExchangeObserver, ExchangeOutcome } from '../http/listener.ts'
import { counter, gauge, type Reading } from './readings.ts'
import { Tally, type Sample } from './tally.ts'

/** As distribution calls its routes; `root` and `referrers` it has not. */
const handlers: Readonly<Record<string, string>> = {
  root: 'root',
  base: 'base',
  catalog: 'catalog',
  tags: 'tags',
  manifest: 'manifest',
  referrers: 'referrers',
  blob: 'blob',
  uploads: 'blob_upload',
  upload: 'blob_upload_chunk',
}

const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60]

/** 1 KiB, 2 KiB … 2 GiB. */
const sizes = Array.from({ length: 22 }, (_, index) => 1024 * 2 ** index)

interface Measured {
  observe(value: number): void
}

export class RequestMetrics implements ExchangeObserver {
  readonly #running = new Set<Request>()
  readonly #requests = new Tally('handler', 'code', 'method')
  /** What clients were told of copies of upstreams. */
  readonly #answers = new Tally('upstream', 'type', 'from')
  readonly #sent = new Tally('upstream', 'type')
  readonly #duration: (handler: string, method: string) => Measured
  readonly #requestSize: (handler: string) => Measured
  readonly #responseSize: (handler: string) => Measured

  constructor(register: Registry) {
    const registers = [register]
    const histogram = (name: string, help: string, labelNames: string[], buckets: number[]): Histogram =>
      new Histogram({ name: `registry_http_${name}`, help, labelNames, buckets, registers })
    const duration = histogram(
      'request_duration_seconds',
      'From a request to the end of its answer',
      ['handler', 'method'],
      seconds,
    )
    const requestSize = histogram(
      'request_size_bytes',
      'Bodies of requests that were announced and have come whole',
      ['handler'],
      sizes,
    )
    const responseSize = histogram('response_size_bytes', 'Bodies of answers, as sent', ['handler'], sizes)
    this.#duration = remembered((handler, method = '') => duration.labels({ handler, method }))
    this.#requestSize = remembered((handler) => requestSize.labels({ handler }))
    this.#responseSize = remembered((handler) => responseSize.labels({ handler }))
  }

  begin(request: Request): void {
    this.#running.add(request)
  }

  end(request: Request, { status, bytes, received, ms }: ExchangeOutcome): void {
    this.#running.delete(request)
    const { kind, upstream } = request.log
    const handler = handlerOf(request)
    const method = methods.has(request.method) ? request.method.toLowerCase() : 'other'
    this.#requests.add(1, handler, String(status), method)
    this.#duration(handler, method).observe(ms / 1000)
    this.#requestSize(handler).observe(received)
    this.#responseSize(handler).observe(bytes)
    if (typeof upstream !== 'string' || (kind !== 'manifest' && kind !== 'blob')) return
    if (request.method !== 'GET' && request.method !== 'HEAD') return
    this.#answers.add(1, upstream, kind, status < 400 ? String(request.log['from']) : 'none')
    this.#sent.add(bytes, upstream, kind)
  }

  readings(): readonly Reading[] {
    return [
      counter('registry_http_requests_total', 'Requests that have ended', ['handler', 'code', 'method'], () =>
        this.#requests.samples(),
      ),
      gauge('registry_http_in_flight_requests', 'Requests that are being answered', ['handler'], () =>
        this.#inFlight(),
      ),
      counter('registry_proxy_requests_total', 'Requests for copies of upstreams', ['type'], () =>
        byType(this.#answers.samples()),
      ),
      counter(
        'registry_proxy_hits_total',
        'Those that were answered from storage, without asking an upstream',
        ['type'],
        () => byType(this.#answers.samples(), (from) => from === 'local'),
      ),
      counter(
        'registry_proxy_misses_total',
        'All others: an upstream was asked, or there was no answer',
        ['type'],
        () => byType(this.#answers.samples(), (from) => from !== 'local'),
      ),
      counter(
        'registry_proxy_pushed_bytes_total',
        'Bytes of copies of upstreams that were sent to clients',
        ['type'],
        () => byType(this.#sent.samples()),
      ),
      counter(
        'entrepot_proxy_answers_total',
        'Requests for copies of upstreams, by where their answers came from: local is a hit, none an error',
        ['upstream', 'type', 'from'],
        () => this.#answers.samples(),
      ),
      counter(
        'entrepot_proxy_sent_bytes_total',
        'Bytes of copies that were sent to clients',
        ['upstream', 'type'],
        () => this.#sent.samples(),
      ),
    ]
  }

  #inFlight(): Iterable<{ readonly labels: { readonly handler: string }; readonly value: number }> {
    const counts = new Map([...Object.values(handlers), 'unknown'].map((handler) => [handler, 0]))
    for (const request of this.#running) counts.set(handlerOf(request), (counts.get(handlerOf(request)) ?? 0) + 1)
    return [...counts].map(([handler, value]) => ({ labels: { handler }, value }))
  }
}

/** Over all upstreams; both types are there from the start, so that the first hit is an increase. */
function byType(samples: Iterable<Sample>, isWanted: (from: string) => boolean = () => true): readonly Sample[] {
  const sums = { blob: 0, manifest: 0 }
  for (const { labels, value } of samples) {
    if (isWanted(String(labels['from']))) sums[labels['type'] === 'blob' ? 'blob' : 'manifest'] += value
  }
  return Object.entries(sums).map(([type, value]) => ({ labels: { type }, value }))
}

/** `unknown`: it names no route, or is not yet read so far. */
function handlerOf({ log: { kind } }: Request): string {
  return (typeof kind === 'string' ? handlers[kind] : undefined) ?? 'unknown'
}

/** What makes the same of the same words, without asking twice: finding it by its labels is what takes time. */
function remembered(make: (...words: [string, string?]) => Measured): (...words: [string, string?]) => Measured {
  const known = new Map<string, Measured>()
  return (...words) => {
    const key = words.join(' ')
    const found = known.get(key)
    if (found !== undefined) return found
    const made = make(...words)
    known.set(key, made)
    return made
  }
}

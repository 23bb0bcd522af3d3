// What other rooms count by themselves, as plain numbers: read when Prometheus asks, at no cost until then.
import type { Labels, Sample } from './tally.ts'

/** A metric, and where its values are read. */
export interface Reading {
  readonly name: string
  readonly help: string
  readonly kind: 'counter' | 'gauge'
  readonly labels: readonly string[]
  readonly read: () => Iterable<Sample>
}

/** What there is to read; what is missing has no metrics. */
export interface Sources {
  readonly descriptors: () => { readonly requests: number; readonly hits: number; readonly errors: number }
  /** How often stored bytes were found damaged. */
  readonly damaged: () => number
  /** Upstreams and their mirrors. */
  readonly places: readonly PlaceSource[]
  readonly proxy?: (() => ProxyReading) | undefined
  readonly eviction?: (() => EvictionReading) | undefined
  /** Bytes that may be stored. */
  readonly maxSize?: number | undefined
  readonly notifications?: (() => readonly EndpointReading[]) | undefined
}

export interface PlaceSource {
  /** As configured. */
  readonly upstream: string
  readonly host: string
  traffic(): { readonly answers: readonly number[]; readonly blobBytes: number; readonly otherBytes: number }
  condition(): { readonly isReachable: boolean; readonly pullsLeft: number | undefined }
}

export interface ProxyReading {
  readonly staleAnswers: ReadonlyMap<string, number>
  readonly fills: {
    readonly running: number
    readonly followers: number
    readonly stored: number
    readonly passedThrough: number
    readonly failed: number
    readonly wrong: number
    readonly resumes: number
  }
}

export interface EvictionReading {
  readonly images: number
  readonly blobs: number
  readonly bytes: number
  readonly size: number | undefined
}

/** An endpoint that events are sent to. */
export interface EndpointReading {
  /** As configured. */
  readonly name: string
  readonly pending: number
  readonly events: number
  readonly successes: number
  readonly failures: number
  readonly errors: number
  readonly dropped: number
  /** By status, as in `200 OK`. */
  readonly statuses: Readonly<Record<string, number>>
}

export function readingsOf(sources: Sources): readonly Reading[] {
  return [
    ...storageReadings(sources),
    ...(sources.proxy === undefined ? [] : proxyReadings(sources, sources.proxy)),
    ...(sources.eviction === undefined ? [] : evictionReadings(sources, sources.eviction)),
    ...(sources.notifications === undefined ? [] : notificationReadings(sources.notifications)),
  ]
}

function storageReadings({ descriptors, damaged, proxy }: Sources): readonly Reading[] {
  const cache = (what: 'requests' | 'hits' | 'errors', help: string): Reading =>
    counter(`registry_storage_cache_${what}_total`, help, [], () => [one(descriptors()[what])])
  return [
    cache('requests', 'Questions to the cache of descriptors'),
    cache('hits', 'Those that it could answer'),
    cache('errors', 'Calls that the store behind it could not answer'),
    counter(
      'entrepot_verify_failures_total',
      'Bytes that were not those of their digest: found in storage, or sent by an upstream',
      ['source'],
      () => [
        one(damaged(), { source: 'storage' }),
        ...(proxy === undefined ? [] : [one(proxy().fills.wrong, { source: 'upstream' })]),
      ],
    ),
  ]
}

const classes = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const

function proxyReadings({ places }: Sources, proxy: () => ProxyReading): readonly Reading[] {
  const each = (read: (place: PlaceSource, labels: Labels) => readonly Sample[]): Sample[] =>
    places.flatMap((place) => read(place, { upstream: place.upstream, host: place.host }))
  const pulled = (what: 'blobBytes' | 'otherBytes'): number =>
    places.reduce((sum, place) => sum + place.traffic()[what], 0)
  return [
    counter('registry_proxy_pulled_bytes_total', 'Bytes that came from upstreams', ['type'], () => [
      one(pulled('blobBytes'), { type: 'blob' }),
      one(pulled('otherBytes'), { type: 'manifest' }),
    ]),
    counter(
      'entrepot_upstream_requests_total',
      'Requests to upstreams and their token servers, by the class of the answer; none: there was none',
      ['upstream', 'host', 'answer'],
      () =>
        each((place, labels) =>
          place.traffic().answers.map((n, index) => one(n, { ...labels, answer: classes[index] ?? '' })),
        ),
    ),
    counter(
      'entrepot_upstream_received_bytes_total',
      'Bytes that came from an upstream: of blobs, and of manifests and all else',
      ['upstream', 'host', 'type'],
      () =>
        each((place, labels) => [
          one(place.traffic().blobBytes, { ...labels, type: 'blob' }),
          one(place.traffic().otherBytes, { ...labels, type: 'manifest' }),
        ]),
    ),
    gauge('entrepot_upstream_reachable', '0: it has failed, and is only asked now and then', ['upstream', 'host'], () =>
      each((place, labels) => [one(place.condition().isReachable ? 1 : 0, labels)]),
    ),
    gauge(
      'entrepot_upstream_pulls_left',
      'Pulls that the upstream has left for us, where it says so',
      ['upstream', 'host'],
      () =>
        each((place, labels) => {
          const { pullsLeft } = place.condition()
          return pullsLeft === undefined ? [] : [one(pullsLeft, labels)]
        }),
    ),
    counter('entrepot_stale_answers_total', 'Answers that may have been out of date', ['upstream'], () =>
      [...proxy().staleAnswers].map(([upstream, value]) => one(value, { upstream })),
    ),
    gauge('entrepot_fills_running', 'Blobs that are being fetched', [], () => [one(proxy().fills.running)]),
    gauge('entrepot_fill_followers', 'Answers that follow one of them', [], () => [one(proxy().fills.followers)]),
    counter('entrepot_fills_total', 'Blobs whose fetching has ended', ['result'], () => {
      const { stored, passedThrough, failed } = proxy().fills
      return [
        one(stored, { result: 'stored' }),
        one(passedThrough, { result: 'passed_through' }),
        one(failed, { result: 'failed' }),
      ]
    }),
    counter('entrepot_fill_resumes_total', 'Transfers that broke and were asked for again', [], () => [
      one(proxy().fills.resumes),
    ]),
  ]
}

function evictionReadings({ maxSize }: Sources, eviction: () => EvictionReading): readonly Reading[] {
  return [
    counter('entrepot_evicted_manifests_total', 'Manifests that eviction took away', [], () => [
      one(eviction().images),
    ]),
    counter('entrepot_evicted_blobs_total', 'Blobs that eviction took away', [], () => [one(eviction().blobs)]),
    counter('entrepot_evicted_bytes_total', 'Bytes of them', [], () => [one(eviction().bytes)]),
    gauge('entrepot_cache_bytes', 'Bytes of all stored blobs; missing until a survey has found out', [], () => {
      const { size } = eviction()
      return size === undefined ? [] : [one(size)]
    }),
    gauge('entrepot_cache_max_bytes', 'proxy.cache.maxsize', [], () => (maxSize === undefined ? [] : [one(maxSize)])),
  ]
}

function notificationReadings(endpoints: () => readonly EndpointReading[]): readonly Reading[] {
  return [
    counter('registry_notifications_events_total', 'Events, and how their sending went', ['type', 'endpoint'], () =>
      endpoints().flatMap(({ name: endpoint, events, successes, failures, errors }) => [
        one(events, { type: 'Events', endpoint }),
        one(successes, { type: 'Successes', endpoint }),
        one(failures, { type: 'Failures', endpoint }),
        one(errors, { type: 'Errors', endpoint }),
      ]),
    ),
    counter('entrepot_notifications_dropped_total', 'Events that found no room', ['endpoint'], () =>
      endpoints().map(({ name: endpoint, dropped }) => one(dropped, { endpoint })),
    ),
    gauge('registry_notifications_pending_total', 'Events that wait to be sent', ['endpoint'], () =>
      endpoints().map(({ name: endpoint, pending }) => one(pending, { endpoint })),
    ),
    counter('registry_notifications_status_total', 'Answers of endpoints', ['code', 'endpoint'], () =>
      endpoints().flatMap(({ name: endpoint, statuses }) =>
        Object.entries(statuses).map(([code, n]) => one(n, { code, endpoint })),
      ),
    ),
  ]
}

export function counter(name: string, help: string, labels: readonly string[], read: () => Iterable<Sample>): Reading {
  return { name, help, kind: 'counter', labels, read }
}

export function gauge(name: string, help: string, labels: readonly string[], read: () => Iterable<Sample>): Reading {
  return { name, help, kind: 'gauge', labels, read }
}

function one(value: number, labels: Labels = {}): Sample {
  return { labels, value }
}

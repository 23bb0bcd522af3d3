// `notifications`: whom we tell what happens. As in distribution, a 0 is as if it were not there.
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import { checkHeaders, headersOf } from './header-field.ts'
import { count, flag, goDuration, integer, size, text } from './leaf.ts'
import { list, section, type Schema } from './section.ts'
import { parseSize } from './size.ts'

/** Whom we tell what happens. */
export interface NotificationsConfig {
  /** Whether events of manifests say what these refer to. */
  readonly includeReferences: boolean
  /** Of the events that wait for one endpoint. */
  readonly queue: { readonly maxEvents: number; readonly maxSize: number }
  /** Those that are not disabled. */
  readonly endpoints: readonly EndpointConfig[]
}

export interface EndpointConfig {
  /** No two endpoints share one. */
  readonly name: string
  /** May hold secrets anywhere behind its host, and a user name and password. */
  readonly url: URL
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** Of one delivery. */
  readonly timeout: number
  /** Failures in a row after which each next try waits for `backoff`. */
  readonly threshold: number
  readonly backoff: number
  readonly ignoredMediaTypes: readonly string[]
  readonly ignoredActions: readonly string[]
  /** Whether it is told what becomes of the cache. */
  readonly cache: boolean
}

interface EndpointInput {
  readonly name?: string | undefined
  readonly disabled?: boolean | undefined
  readonly url?: string | undefined
  readonly headers?: Record<string, string[]> | undefined
  readonly timeout?: number | undefined
  readonly threshold?: number | undefined
  readonly backoff?: number | undefined
  readonly ignoredmediatypes?: string[] | undefined
  readonly ignore?: { readonly mediatypes?: string[] | undefined; readonly actions?: string[] | undefined } | undefined
  readonly cache?: boolean | undefined
}

export interface NotificationsInput {
  readonly events?: { readonly includereferences?: boolean | undefined } | undefined
  readonly queue?: { readonly maxevents?: number | undefined; readonly maxsize?: number | undefined } | undefined
  readonly endpoints?: EndpointInput[] | undefined
}

export const notificationsSchema: Schema<NotificationsInput> = section({
  events: section({ includereferences: flag }),
  queue: section({ maxevents: count, maxsize: size }),
  endpoints: list(
    section({
      name: text,
      disabled: flag,
      url: text,
      headers: headersOf(text),
      timeout: goDuration,
      threshold: integer(),
      backoff: goDuration,
      ignoredmediatypes: list(text),
      ignore: section({ mediatypes: list(text), actions: list(text) }),
      cache: flag,
    }),
  ),
})

/** As long as a timer can be. */
const longest = 2 ** 31 - 1

/** @throws ConfigError */
export function resolveNotifications({ events, queue, endpoints = [] }: NotificationsInput): NotificationsConfig {
  const names = new Set<string>()
  return {
    includeReferences: events?.includereferences ?? false,
    queue: { maxEvents: queue?.maxevents || 100_000, maxSize: queue?.maxsize || parseSize('64MiB') },
    endpoints: endpoints.flatMap((endpoint, index) => {
      return endpoint.disabled === true ? [] : [resolveEndpoint(endpoint, ['notifications', 'endpoints', index], names)]
    }),
  }
}

function resolveEndpoint(input: EndpointInput, at: KeyPath, names: Set<string>): EndpointConfig {
  const url = parseUrl(input.url, formatPath([...at, 'url']))
  return {
    name: uniqueName(input.name || url.host, names),
    url,
    headers: checkHeaders(input.headers ?? {}, formatPath([...at, 'headers'])),
    timeout: Math.min(input.timeout || 1000, longest),
    threshold: input.threshold !== undefined && input.threshold > 0 ? input.threshold : 10,
    backoff: Math.min(input.backoff || 1000, longest),
    ignoredMediaTypes: [...new Set([...(input.ignoredmediatypes ?? []), ...(input.ignore?.mediatypes ?? [])])],
    ignoredActions: input.ignore?.actions ?? [],
    cache: input.cache ?? false,
  }
}

/** Nothing of it is shown: addresses of this kind are often secrets as a whole. */
function parseUrl(value: string | undefined, key: string): URL {
  const url = value === undefined || /\s/.test(value) ? null : URL.parse(value)
  if (url !== null && /^https?:$/.test(url.protocol) && url.hash === '') return url
  throw new ConfigError(
    `${key}: ${value === undefined ? 'missing' : 'found something else'}, expected an http or https URL`,
  )
}

/** distribution lets several endpoints have one name; our counts and queues do not. */
function uniqueName(name: string, names: Set<string>): string {
  let unique = name
  for (let number = 2; names.has(unique); number += 1) unique = `${name} (${number})`
  names.add(unique)
  return unique
}

// `health`: what is looked at again and again besides our own storage, and `http.debug`: where it is told.
import { findAddress, type Address } from './address.ts'
import { ConfigError } from './config-error.ts'
import { checkHeaders, headersOf } from './header-field.ts'
import { count, flag, goPatience, findPlainUrl, integer, leaf, text } from './leaf.ts'
import { list, section, type Schema } from './section.ts'

export interface DebugConfig {
  /** Without brackets; empty: every interface. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Where Prometheus finds the metrics; `undefined`: nothing is measured. */
  readonly metricsPath: string | undefined
}

/** What is looked at again and again, and told at `/debug/health`. */
export interface HealthConfig {
  /** `undefined`: it is not looked at. */
  readonly storage: PeriodicCheckConfig | undefined
  /** Well as long as the file is not there. */
  readonly files: readonly (PeriodicCheckConfig & { readonly path: string })[]
  readonly http: readonly HttpCheckConfig[]
  readonly tcp: readonly (PeriodicCheckConfig & Address & { readonly timeout: number })[]
}

export interface PeriodicCheckConfig {
  readonly interval: number
  /** Failures in a row from which on it counts as failing; 0: from the first. */
  readonly threshold: number
}

export interface HttpCheckConfig extends PeriodicCheckConfig {
  readonly url: URL
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** Expected. */
  readonly status: number
  readonly timeout: number
}

interface PeriodicInput {
  readonly interval?: number | undefined
  readonly threshold?: number | undefined
}

interface HttpCheckInput extends PeriodicInput {
  readonly uri?: URL | undefined
  readonly headers?: Record<string, string[]> | undefined
  readonly statuscode?: number | undefined
  readonly timeout?: number | undefined
}

interface TcpCheckInput extends PeriodicInput {
  readonly addr?: Address | undefined
  readonly timeout?: number | undefined
}

export interface HealthInput {
  readonly storagedriver?: (PeriodicInput & { readonly enabled?: boolean | undefined }) | undefined
  readonly file?: readonly (PeriodicInput & { readonly file?: string | undefined })[] | undefined
  readonly http?: readonly HttpCheckInput[] | undefined
  readonly tcp?: readonly TcpCheckInput[] | undefined
}

export interface DebugInput {
  readonly addr?: Address | undefined
  readonly prometheus?: { readonly enabled?: boolean | undefined; readonly path?: string | undefined } | undefined
}

/** Of its durations, 0 means the default, as with distribution. */
const periodic = { interval: goPatience, threshold: count }

/** Its query is asked with, and shown to nobody: it may be a secret. */
const target = leaf('an http or https URL with a host, without user name or fragment', (value) => {
  if (/[#\s]/.test(value) || findPlainUrl(value.replace(/\?.*$/, '')) === undefined) return undefined
  return URL.parse(value) ?? undefined
})

export const healthSchema: Schema<HealthInput> = section({
  storagedriver: section({ enabled: flag, ...periodic }),
  file: list(section({ file: text, ...periodic })),
  http: list(
    section({
      uri: target,
      headers: headersOf(text),
      statuscode: integer(100, 'a status from 100 to 599', 599),
      timeout: goPatience,
      ...periodic,
    }),
  ),
  tcp: list(
    section({
      addr: leaf('an address such as localhost:6379', (value) => {
        const address = findAddress(value)
        return address === undefined || address.host === '' ? undefined : address
      }),
      timeout: goPatience,
      ...periodic,
    }),
  ),
})

export const debugSchema: Schema<DebugInput> = section({
  addr: leaf('an address to listen on, such as localhost:5001', (value) => findAddress(value)),
  prometheus: section({
    enabled: flag,
    path: leaf('a path such as /metrics', (value) => (/^\/[\w.~/-]*$/.test(value) ? value : undefined)),
  }),
})

const usualInterval = 10_000
const shortestInterval = 1000
const usualTimeout = 3000

/** @throws ConfigError where a check does not say what it looks at */
export function resolveHealth(input: HealthInput): HealthConfig {
  const { storagedriver = {} } = input
  return {
    storage: storagedriver.enabled === true ? periodicOf(storagedriver) : undefined,
    files: (input.file ?? []).map(({ file, ...rest }, index) => {
      return { path: named(file, `health.file[${index}].file`), ...periodicOf(rest) }
    }),
    http: (input.http ?? []).map(({ uri, headers: given = {}, statuscode = 200, timeout, ...rest }, index) => {
      const url = named(uri, `health.http[${index}].uri`)
      const headers = checkHeaders(given, `health.http[${index}].headers`)
      return { url, headers, status: statuscode, timeout: timeout || usualTimeout, ...periodicOf(rest) }
    }),
    tcp: (input.tcp ?? []).map(({ addr, timeout, ...rest }, index) => {
      return { ...named(addr, `health.tcp[${index}].addr`), timeout: timeout || usualTimeout, ...periodicOf(rest) }
    }),
  }
}

function periodicOf({ interval, threshold }: PeriodicInput): PeriodicCheckConfig {
  return { interval: Math.max(shortestInterval, interval || usualInterval), threshold: threshold ?? 0 }
}

function named<T>(value: T | undefined, key: string): T {
  if (value === undefined || value === '') throw new ConfigError(`${key}: found nothing, expected what to look at`)
  return value
}

/** Paths of the debug listener that are taken. */
const taken = /^\/(?:debug\/health(?:\/.*)?|livez|readyz)?$/

/** @throws ConfigError where metrics are to be shown at a path that is taken */
export function resolveDebug(input: DebugInput): DebugConfig | undefined {
  const { addr, prometheus = {} } = input
  if (addr === undefined) return undefined
  const { enabled = false, path = '/metrics' } = prometheus
  if (enabled && taken.test(path)) {
    throw new ConfigError(`http.debug.prometheus.path: found ${JSON.stringify(path)}, expected a path of its own`)
  }
  return { host: addr.host, port: addr.port, metricsPath: enabled ? path : undefined }
}

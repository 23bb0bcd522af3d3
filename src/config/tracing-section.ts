// Traces are asked for by OpenTelemetry's own variables, which every program of a fleet understands alike.
import type { Environment } from './environment.ts'

/** As OpenTelemetry's own variables have it. */
export interface TracingConfig {
  /** Where spans are sent, whole. */
  readonly endpoint: URL
  /** They may hold a secret. */
  readonly headers: Readonly<Record<string, string>>
  /** What we are called there. */
  readonly service: string
  /** What else tells this server from others there. */
  readonly attributes: Readonly<Record<string, string>>
  /** Whether a client's word counts for whether its request is recorded. */
  readonly followsClients: boolean
  /** The part of all others that is recorded, from 0 to 1. */
  readonly ratio: number
}

const usualEndpoint = 'http://localhost:4318'

/** What is not understood is said, and left out: traces are no reason not to start. */
export function resolveTracing(env: Environment, warn: (line: string) => void): TracingConfig | undefined {
  if (!isAsked(env, warn)) return undefined
  const { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: whole, OTEL_EXPORTER_OTLP_ENDPOINT: base } = env
  const endpoint = URL.parse(whole || `${(base || usualEndpoint).replace(/\/+$/, '')}/v1/traces`)
  if (endpoint === null || !/^https?:$/.test(endpoint.protocol)) {
    warn(
      `${whole ? 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT' : 'OTEL_EXPORTER_OTLP_ENDPOINT'} is no http URL: no traces are sent`,
    )
    return undefined
  }
  const { 'service.name': service, ...attributes } = pairsOf(env['OTEL_RESOURCE_ATTRIBUTES'] ?? '')
  const protocol = env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || env['OTEL_EXPORTER_OTLP_PROTOCOL']
  if (protocol === 'grpc') warn('OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not supported; traces are sent as http/json')
  return {
    endpoint,
    headers: pairsOf(env['OTEL_EXPORTER_OTLP_TRACES_HEADERS'] || env['OTEL_EXPORTER_OTLP_HEADERS'] || ''),
    service: env['OTEL_SERVICE_NAME'] || service || 'entrepot',
    attributes,
    ...samplingOf(env, warn),
  }
}

function isAsked(env: Environment, warn: (line: string) => void): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false
  const exporter = env['OTEL_TRACES_EXPORTER']
  if (exporter === undefined || exporter === '') {
    return Boolean(env['OTEL_EXPORTER_OTLP_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'])
  }
  if (exporter !== 'otlp' && exporter !== 'none')
    warn('OTEL_TRACES_EXPORTER: only otlp and none are supported; no traces are sent')
  return exporter === 'otlp'
}

/** `key=value,key=value`, percent-encoded. */
function pairsOf(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map((pair) => /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(pair))
  return Object.fromEntries(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1] ?? '', decoded(pair[2] ?? '')]])))
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function samplingOf(env: Environment, warn: (line: string) => void): Pick<TracingConfig, 'followsClients' | 'ratio'> {
  const { OTEL_TRACES_SAMPLER: sampler = '', OTEL_TRACES_SAMPLER_ARG: argument = '' } = env
  const known = /^(parentbased_)?(always_on|always_off|traceidratio)$/.exec(sampler)
  const usual = { followsClients: true, ratio: 1 }
  if (known === null) {
    if (sampler !== '') warn('OTEL_TRACES_SAMPLER: not supported; parentbased_always_on is used')
    return usual
  }
  const followsClients = known[1] !== undefined
  if (known[2] !== 'traceidratio') return { followsClients, ratio: known[2] === 'always_on' ? 1 : 0 }
  const ratio = argument === '' ? 1 : Number(argument)
  if (ratio >= 0 && ratio <= 1) return { followsClients, ratio }
  warn('OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1; 1 is used')
  return { followsClients, ratio: 1 }
}

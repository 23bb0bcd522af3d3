// `http.limits`: how much clients may take of us; ours, distribution has none.
import { count, timeout } from './leaf.ts'
import { section, type Schema } from './section.ts'

/** How much clients may take of us. */
export interface HttpLimits {
  /** At once; 0: as many as the system gives us. */
  readonly connections: number
  /** Of one client at once; 0: any number. */
  readonly requests: number
  /** Requests of one client in a second; 0: any number. */
  readonly rate: number
  /** How long the headers of a request may take. */
  readonly headerTime: number
  /** How long a connection may make no progress while a request runs. */
  readonly idle: number
  /** How long it may wait for the next request. */
  readonly keepAlive: number
}

export interface HttpLimitsInput {
  readonly connections?: number | undefined
  readonly requests?: number | undefined
  readonly rate?: number | undefined
  readonly headertime?: number | undefined
  readonly idle?: number | undefined
  readonly keepalive?: number | undefined
}

export const httpLimitsSchema: Schema<HttpLimitsInput> = section({
  connections: count,
  requests: count,
  rate: count,
  headertime: timeout,
  idle: timeout,
  keepalive: timeout,
})

export function resolveHttpLimits(input: HttpLimitsInput): HttpLimits {
  return {
    connections: input.connections ?? 0,
    requests: input.requests ?? 0,
    rate: input.rate ?? 0,
    headerTime: input.headertime ?? 60_000,
    idle: input.idle ?? 120_000,
    keepAlive: input.keepalive ?? 75_000,
  }
}

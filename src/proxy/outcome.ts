// What a client hears when an upstream fails: an error, or what we have with a warning.
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Trace } from '../registry/call.ts'
import { UpstreamError, type UpstreamFailure } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { StaleAnswers } from './counts.ts'
import type { Upstream } from './selection.ts'

/** Seconds after which a client that was refused for the upstream's rate limit may come again, if nobody said. */
const defaultRetryAfter = 60

/** Translates at the seam between upstream and client; every other error passes as it is. */
export function clientError(error: unknown): unknown {
  if (!(error instanceof UpstreamError)) return error
  const options = { cause: error, retryAfter: retryAfterOf(error) }
  return new RegistryError(codes[error.failure], error.message, options)
}

const codes = {
  unreachable: 'UPSTREAM_FAILED',
  unavailable: 'UPSTREAM_FAILED',
  invalid: 'UPSTREAM_FAILED',
  'credentials-refused': 'UPSTREAM_FAILED', // ours, not the client's: no 401, it would be asked for a password
  timeout: 'UPSTREAM_TIMEOUT',
  'rate-limited': 'TOOMANYREQUESTS',
  denied: 'DENIED',
} as const satisfies Record<UpstreamFailure, string>

function retryAfterOf(error: UpstreamError): number | undefined {
  return error.failure === 'rate-limited' ? (error.retryAfter ?? defaultRetryAfter) : error.retryAfter
}

export interface StaleContext {
  readonly repository: RepositoryName
  readonly upstream: Upstream
  readonly stale: StaleAnswers
  readonly logger: Logger
}

/** Says why an answer may be out of date: to the client each time, in the log once in a while. */
export function noteStale(error: unknown, context: StaleContext, trace: Trace | undefined): void {
  const { repository, upstream, stale, logger } = context
  const { host } = upstream
  const reason = error instanceof UpstreamError ? error.message : `${host} does not have it any more`
  if (trace !== undefined) trace.warning = `served from cache, may be out of date: ${reason}`
  if (stale.add(upstream)) logger.warn({ repository, host, error }, 'stale answer')
  else logger.debug({ repository, host, error }, 'stale answer')
}

// The line that each request has in the log, at its end.
import type { Logger } from '../telemetry/logger.ts'
import { ClientGoneError } from './exchange.ts'

/** `failure`: why not all of the answer was sent; `undefined` where it was. */
export function logRequest(logger: Logger, fields: Record<string, unknown>, status: number, failure: unknown): void {
  if (failure instanceof ClientGoneError) logger.info({ ...fields, aborted: true }, 'request aborted')
  else if (failure !== undefined) logger.warn({ ...fields, error: failure }, 'answer broken off')
  else if (status === 500) logger.error(fields, 'request failed')
  else if (status > 500) logger.warn(fields, 'request failed')
  else logger.info(fields, 'request')
}

/** Milliseconds since `startedAt`, of `performance.now()`, as the line has them. */
export function since(startedAt: number): number {
  return Math.round((performance.now() - startedAt) * 10) / 10
}

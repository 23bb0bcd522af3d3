// `traceparent`: whose request a request is part of (W3C Trace Context, §3.2).
import { isSpanContextValid, TraceFlags, type SpanContext } from '@opentelemetry/api'

export function parseTraceparent(header: string | readonly string[] | undefined): SpanContext | undefined {
  if (typeof header !== 'string') return undefined
  const match = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.{0,200})?$/.exec(header)
  if (match === null || (header.startsWith('00') && header.length !== 55)) return undefined
  const [, traceId = '', spanId = '', flags = '0'] = match
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true }
  return isSpanContextValid(context) ? context : undefined
}

export function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

// How a failure becomes a reply: the one table of codes, and the envelope (distribution-spec, «Error Codes»).
import { RangeNotSatisfiableError, RegistryError, type ErrorCode } from '../oci/error.ts'
import type { Reply, Request } from '../http/exchange.ts'
import { isStorageFull } from '../registry/storage-full.ts'

interface Row {
  readonly status: number
  readonly message: string
  /** The code on the wire, where it is not the code itself. */
  readonly wire?: ErrorCode
}

/** A code without a row does not compile. */
const table: Readonly<Record<ErrorCode, Row>> = {
  UNKNOWN: { status: 500, message: 'unknown error' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  UNAVAILABLE: { status: 503, message: 'service unavailable' },
  UPSTREAM_FAILED: { status: 502, message: 'the upstream registry failed', wire: 'UNAVAILABLE' },
  UPSTREAM_TIMEOUT: { status: 504, message: 'the upstream registry did not answer in time', wire: 'UNAVAILABLE' },
  STORAGE_FULL: { status: 507, message: 'the registry has no room left to store this', wire: 'UNAVAILABLE' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  ROUTE_UNKNOWN: { status: 404, message: 'no such resource in the registry API', wire: 'UNSUPPORTED' },
  EXPECTATION_UNKNOWN: { status: 417, message: 'the expectation cannot be met', wire: 'UNSUPPORTED' },
  REQUEST_INVALID: { status: 400, message: 'the request is malformed', wire: 'UNSUPPORTED' },
  REQUEST_TIMEOUT: { status: 408, message: 'the request did not come in time', wire: 'UNSUPPORTED' },
  REQUEST_TOO_LARGE: { status: 431, message: 'the head of the request is too long', wire: 'UNSUPPORTED' },
  DIGEST_INVALID: { status: 400, message: 'invalid digest, or content that does not match it' },
  SIZE_INVALID: { status: 400, message: 'provided length did not match content length' },
  RANGE_INVALID: { status: 416, message: 'invalid content range' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  TAG_INVALID: { status: 400, message: 'invalid tag' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown' },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_TOO_LARGE: { status: 413, message: 'the manifest is too large', wire: 'MANIFEST_INVALID' },
  MANIFEST_UNVERIFIED: { status: 400, message: 'manifest failed signature verification' },
  MANIFEST_BLOB_UNKNOWN: { status: 400, message: 'blob unknown to registry' },
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to registry' },
  BLOB_UPLOAD_INVALID: { status: 404, message: 'blob upload invalid' },
  PAGINATION_NUMBER_INVALID: { status: 400, message: 'invalid number of results requested' },
}

/** A failure that is none of the contract's is ours: the client learns only that it happened, and whether room was lacking. */
export function asRegistryError(cause: unknown): RegistryError {
  if (cause instanceof RegistryError) return cause
  return new RegistryError(isStorageFull(cause) ? 'STORAGE_FULL' : 'UNKNOWN', undefined, { cause })
}

export function statusOf(code: ErrorCode): number {
  return table[code].status
}

/**
 * The status, and the headers that depend on it, are those of the first error. The request's log line has the code that the
 * client hears: with the status, it tells all that ours does.
 */
export function loggedProblem(
  { log }: Pick<Request, 'log'>,
  error: RegistryError,
  ...others: readonly RegistryError[]
): Reply {
  log['code'] = codeOnWire(error.code)
  const errors = [error, ...others].map(({ code, detail }) => {
    return { code: codeOnWire(code), message: table[code].message, detail }
  })
  const body = Buffer.from(`${JSON.stringify({ errors }).replace(/[<>&]/g, escapeMarkup)}\n`)
  return {
    status: table[error.code].status,
    headers: {
      'content-type': 'application/json',
      'content-length': body.byteLength,
      ...(error.retryAfter === undefined ? {} : { 'retry-after': String(Math.ceil(error.retryAfter)) }),
      ...(error instanceof RangeNotSatisfiableError ? { 'content-range': `bytes */${error.size}` } : {}),
    },
    body,
  }
}

function codeOnWire(code: ErrorCode): ErrorCode {
  return table[code].wire ?? code
}

/** What a client sent is in some details: shown as a page by mistake, it stays text. The JSON says the same. */
function escapeMarkup(character: string): string {
  return `\\u00${character.charCodeAt(0).toString(16)}`
}

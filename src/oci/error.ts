// What a client may hear. Every failure that leaves the house is one of these codes; `api/problem.ts` gives each its
// HTTP status and sentence.

/**
 * The error codes of the OCI distribution specification and of CNCF distribution, and nine of ours that travel under one
 * of theirs (`api/problem.ts`): a failing upstream, one that does not answer in time, storage without room, a path that
 * names nothing, an expectation that nobody can meet, a manifest that is too large, and what is no request, comes too late
 * or has too long a head to be one.
 */
export type ErrorCode =
  | 'UNKNOWN'
  | 'UNSUPPORTED'
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'UNAVAILABLE'
  | 'UPSTREAM_FAILED'
  | 'UPSTREAM_TIMEOUT'
  | 'STORAGE_FULL'
  | 'TOOMANYREQUESTS'
  | 'DIGEST_INVALID'
  | 'SIZE_INVALID'
  | 'RANGE_INVALID'
  | 'ROUTE_UNKNOWN'
  | 'EXPECTATION_UNKNOWN'
  | 'REQUEST_INVALID'
  | 'REQUEST_TIMEOUT'
  | 'REQUEST_TOO_LARGE'
  | 'NAME_INVALID'
  | 'TAG_INVALID'
  | 'NAME_UNKNOWN'
  | 'MANIFEST_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_TOO_LARGE'
  | 'MANIFEST_UNVERIFIED'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'PAGINATION_NUMBER_INVALID'

export interface RegistryErrorOptions extends ErrorOptions {
  /** Seconds after which the client may ask again; sent as `Retry-After`. */
  readonly retryAfter?: number | undefined
}

/** A failure meant for the client. `detail` is shown to it as it is: never a path, a secret or a stack. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: ErrorCode
  readonly detail: unknown
  readonly retryAfter: number | undefined

  constructor(code: ErrorCode, detail?: unknown, options?: RegistryErrorOptions) {
    super(typeof detail === 'string' ? `${code}: ${detail}` : code, options)
    this.code = code
    this.detail = detail
    this.retryAfter = options?.retryAfter
  }
}

/** Several failures of one request, which the client hears in one envelope; the first decides the status. */
export class RegistryErrors extends Error {
  override readonly name = 'RegistryErrors'
  readonly errors: readonly [RegistryError, ...RegistryError[]]

  constructor(errors: readonly [RegistryError, ...RegistryError[]]) {
    super(errors.map(({ message }) => message).join('; '))
    this.errors = errors
  }
}

/** Whether `error` says that the thing asked for does not exist, as opposed to any other failure. */
export function isAbsence(error: unknown): boolean {
  return (
    error instanceof RegistryError &&
    (error.code === 'BLOB_UNKNOWN' ||
      error.code === 'MANIFEST_UNKNOWN' ||
      error.code === 'NAME_UNKNOWN' ||
      error.code === 'BLOB_UPLOAD_UNKNOWN')
  )
}

/** Whether `error` says that there can be no repository of the name that was asked for. */
export function isNoRepository(error: unknown): boolean {
  return error instanceof RegistryError && (error.code === 'NAME_UNKNOWN' || error.code === 'NAME_INVALID')
}

/** What was found, or `undefined` where it does not exist; every other failure is thrown on. */
export async function ifPresent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/** A blob's range that does not overlap its bytes: 416 with `Content-Range: bytes *\/size` (RFC 9110 §15.5.17). */
export class RangeNotSatisfiableError extends RegistryError {
  readonly size: number

  constructor(size: number) {
    super('RANGE_INVALID', { size })
    this.size = size
  }
}

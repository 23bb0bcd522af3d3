// How an upstream can fail us. «It has no such thing» is no failure: that is a RegistryError of the contract.

export type UpstreamFailure =
  /** No connection: refused, unknown host, TLS. */
  | 'unreachable'
  /** Connected, but nothing came in time. */
  | 'timeout'
  /** It answered 5xx, or the connection broke. */
  | 'unavailable'
  /** It answered 429. */
  | 'rate-limited'
  /** It, or its token server, does not accept the credentials that are configured. */
  | 'credentials-refused'
  /** 401 or 403 for this object: private, or absent and not telling. */
  | 'denied'
  /** The answer is not what the protocol promises: wrong digest, HTML, too large, a redirect that is not allowed. */
  | 'invalid'

export interface UpstreamErrorOptions extends ErrorOptions {
  readonly status?: number | undefined
  /** Seconds, where the upstream said so. */
  readonly retryAfter?: number | undefined
}

/** `message` is one sentence for the log and for the client: it names the host, never a query string or a secret. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly failure: UpstreamFailure
  readonly host: string
  readonly status: number | undefined
  readonly retryAfter: number | undefined

  constructor(failure: UpstreamFailure, host: string, message: string, options?: UpstreamErrorOptions) {
    super(message, options)
    this.failure = failure
    this.host = host
    this.status = options?.status
    this.retryAfter = options?.retryAfter
  }
}

// What a broken connection means, from the codes of undici, node:net and node:tls.
import { TooLargeError } from '../bytes/stream.ts'
import { UpstreamError } from '../registry/upstream-error.ts'

const timeouts: ReadonlySet<string> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

/** The connection stood, and broke. */
const breaks: ReadonlySet<string> = new Set([
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_ABORTED',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
  'ECONNRESET',
  'EPIPE',
])

/** What an idle connection fails with when the other side had closed it before our request came. */
const stale: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** What keeps a connection from being secure, in words. */
const insecurities: ReadonlyMap<string, string> = new Map([
  ['CERT_HAS_EXPIRED', 'its certificate has expired'],
  ['CERT_NOT_YET_VALID', 'its certificate is not valid yet'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'its certificate is for another host'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'its certificate is signed by nobody who is trusted here'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'its certificate is signed by nobody who is trusted here'],
  ['UNABLE_TO_GET_ISSUER_CERT', 'its certificate is signed by nobody who is trusted here'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'its certificate is signed by nobody who is trusted here'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'its certificate is signed by nobody who is trusted here'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'it does not speak TLS'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'it does not speak TLS'],
])

export function isStaleConnection(error: unknown): boolean {
  return stale.has(codeOf(error))
}

/**
 * Throws what the caller is to see: the reason of a signal that has fired as it is, an UpstreamError for all else.
 * `proxy`: the connection is one to it, and its failure would else be taken for the host's. Where it speaks TLS, too, nobody
 * can tell whose certificate it is.
 * @throws UpstreamError; the signal's reason
 */
export function failConnection(error: unknown, host: string, signal: AbortSignal | undefined, proxy?: URL): never {
  signal?.throwIfAborted()
  if (error instanceof UpstreamError) throw error
  if (error instanceof TooLargeError) {
    throw new UpstreamError('invalid', host, `${host} sent more than ${error.limit} bytes`, { cause: error })
  }
  const code = codeOf(error)
  const way = proxy === undefined ? '' : ' through its proxy'
  if (timeouts.has(code)) {
    throw new UpstreamError('timeout', host, `${host} sent nothing for too long`, { cause: error })
  }
  if (breaks.has(code)) {
    throw new UpstreamError('unavailable', host, `the connection to ${host}${way} broke (${code})`, { cause: error })
  }
  if (/^HPE_|^HTTPParserError$|^UND_ERR_HEADERS_OVERFLOW$/.test(code)) {
    throw new UpstreamError('invalid', host, `${host} does not speak HTTP as it should (${code})`, { cause: error })
  }
  const insecurity = insecurities.get(code)
  const why = insecurity === undefined ? way : `${proxy?.protocol === 'https:' ? way : ''}: ${insecurity}`
  throw new UpstreamError('unreachable', host, `${host} cannot be reached${why} (${code})`, { cause: error })
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

// `http.tls`: the certificate that we show, from files or from an authority, and whom we let in by theirs.
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import { leaf, oneOf, text } from './leaf.ts'
import {
  letsEncryptSchema,
  resolveLetsEncrypt,
  type LetsEncryptConfig,
  type LetsEncryptInput,
} from './letsencrypt-section.ts'
import { parseCertificates, readPem, resolveIdentity, type PemFile } from './pem.ts'
import { isEmpty, list, section, type ResolveContext, type Schema } from './section.ts'

/** Files are named, not held: they are read again when they change. All paths are absolute. */
export interface HttpTlsConfig {
  readonly identity:
    | { readonly kind: 'files'; readonly certificate: string; readonly key: string }
    | ({ readonly kind: 'letsencrypt' } & LetsEncryptConfig)
  /** Who signs the certificates of clients; none: clients are not asked for one. */
  readonly clientAuthorities: readonly string[]
  readonly clientAuth:
    | 'request-client-cert'
    | 'require-any-client-cert'
    | 'verify-client-cert-if-given'
    | 'require-and-verify-client-cert'
  readonly minimumVersion: 'TLSv1.2' | 'TLSv1.3'
  /** In OpenSSL's words; `undefined`: Node's choice. */
  readonly ciphers: string | undefined
}

export interface HttpTlsInput {
  readonly certificate?: string | undefined
  readonly key?: string | undefined
  readonly clientcas?: string[] | undefined
  readonly clientauth?: HttpTlsConfig['clientAuth'] | undefined
  readonly minimumtls?: 'tls1.2' | 'tls1.3' | undefined
  readonly ciphersuites?: string[] | undefined
  readonly letsencrypt?: LetsEncryptInput | undefined
}

/** Go's names of what TLS 1.2 may be encrypted with → OpenSSL's. */
const suites: ReadonlyMap<string, string> = new Map([
  ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256', 'ECDHE-ECDSA-AES128-SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256', 'ECDHE-RSA-AES128-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA', 'ECDHE-ECDSA-AES128-SHA'],
  ['TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA', 'ECDHE-RSA-AES128-SHA'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA', 'ECDHE-ECDSA-AES256-SHA'],
  ['TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA', 'ECDHE-RSA-AES256-SHA'],
  ['TLS_RSA_WITH_AES_128_GCM_SHA256', 'AES128-GCM-SHA256'],
  ['TLS_RSA_WITH_AES_256_GCM_SHA384', 'AES256-GCM-SHA384'],
  ['TLS_RSA_WITH_AES_128_CBC_SHA256', 'AES128-SHA256'],
  ['TLS_RSA_WITH_AES_128_CBC_SHA', 'AES128-SHA'],
  ['TLS_RSA_WITH_AES_256_CBC_SHA', 'AES256-SHA'],
])

/** Those of TLS 1.3, which are always offered, as Go does it, and bear the same names everywhere. */
const modern: readonly string[] = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']

const suite = leaf(
  'a cipher suite by its name in Go that is still safe, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  (value) => (modern.includes(value) ? value : suites.get(value)),
)

export const httpTlsSchema: Schema<HttpTlsInput> = section({
  certificate: text,
  key: text,
  clientcas: list(text),
  clientauth: oneOf([
    'request-client-cert',
    'require-any-client-cert',
    'verify-client-cert-if-given',
    'require-and-verify-client-cert',
  ]),
  minimumtls: oneOf(['tls1.2', 'tls1.3'], 'tls1.2 or tls1.3: older ones are broken'),
  ciphersuites: list(suite),
  letsencrypt: letsEncryptSchema,
})

const at: KeyPath = ['http', 'tls']

/**
 * `undefined`: plain HTTP.
 * @throws ConfigError where TLS was asked for and cannot be had: plain HTTP in its place would be a surprise
 */
export function resolveHttpTls(input: HttpTlsInput, context: ResolveContext): HttpTlsConfig | undefined {
  const { clientcas = [], clientauth, minimumtls, ciphersuites = [] } = input
  const identity = resolveOwn(input, context)
  if (identity === undefined) {
    if (clientcas.length === 0) return undefined
    throw new ConfigError(`${formatPath([...at, 'certificate'])}: missing, expected beside clientcas`)
  }
  const authorities = clientcas.map((path, index) => readPem(path, [...at, 'clientcas', index], context))
  for (const authority of authorities) parseCertificates(authority)
  if (clientauth !== undefined && authorities.length === 0) {
    context.warn('http.tls.clientauth has no effect without clientcas') // as with distribution
  }
  return {
    identity,
    clientAuthorities: authorities.map(({ path }) => path),
    clientAuth: clientauth ?? 'require-and-verify-client-cert',
    minimumVersion: minimumtls === 'tls1.3' ? 'TLSv1.3' : 'TLSv1.2',
    ciphers: ciphersuites.length === 0 ? undefined : [...new Set([...modern, ...ciphersuites])].join(':'),
  }
}

/** What we are known by. */
function resolveOwn(
  { certificate, key, letsencrypt = {} }: HttpTlsInput,
  context: ResolveContext,
): HttpTlsConfig['identity'] | undefined {
  if (!isEmpty(letsencrypt)) {
    const other = certificate === undefined ? (key === undefined ? undefined : 'key') : 'certificate'
    if (other === undefined) return { kind: 'letsencrypt', ...resolveLetsEncrypt(letsencrypt, context) }
    throw new ConfigError(`${formatPath([...at, 'letsencrypt'])}: found beside ${other}, expected one of the two`)
  }
  const read = (path: string | undefined, name: string): PemFile | undefined =>
    path === undefined ? undefined : readPem(path, [...at, name], context)
  const files = resolveIdentity(read(certificate, 'certificate'), read(key, 'key'), at)
  return files && { kind: 'files', certificate: files.certificate.path, key: files.key.path }
}

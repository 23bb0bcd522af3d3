// Certificates that tokens carry (`x5c`, RFC 7515 §4.1.6): good where they lead to one that is configured.
import { createHash, X509Certificate, type KeyObject } from 'node:crypto'
import { certificatesIn } from '../bytes/certificates.ts'
import { keyId } from '../schema1/public-key.ts'
import { KeyError, trusted, type TrustedKey } from './trusted-keys.ts'

/** A leaf, and what lies between it and a root. */
const maxChain = 5

/** What a bundle of certificates makes trusted. */
export interface Trust {
  readonly roots: readonly X509Certificate[]
  /** Their keys, by their names. */
  readonly keys: ReadonlyMap<string, TrustedKey>
}

/** @throws KeyError where it holds no certificate, or one that cannot be read, or whose key is of no use */
export function parseTrust(pem: string): Trust {
  const roots = parseBundle(pem)
  return { roots, keys: bundleKeys(roots) }
}

function parseBundle(pem: string): readonly X509Certificate[] {
  let bundle: readonly X509Certificate[]
  try {
    bundle = certificatesIn(pem)
  } catch (cause) {
    throw new KeyError('a certificate cannot be read', { cause })
  }
  if (bundle.length === 0) throw new KeyError('no certificate in PEM is in it')
  return bundle
}

/** Under both names that token servers use: RFC 7638's thumbprint, and libtrust's fingerprint. */
function bundleKeys(bundle: readonly X509Certificate[]): ReadonlyMap<string, TrustedKey> {
  const keys = new Map<string, TrustedKey>()
  for (const { publicKey } of bundle) {
    const key = trusted(publicKey)
    keys.set(thumbprint(publicKey), key)
    keys.set(keyId(publicKey), key)
  }
  return keys
}

/** RFC 7638: the members that make the key, in the order of their names. */
export function thumbprint(key: KeyObject): string {
  const { crv, e, kty, n, x, y } = key.export({ format: 'jwk' })
  return createHash('sha256').update(JSON.stringify({ crv, e, kty, n, x, y })).digest('base64url')
}

/**
 * The key of a chain's first certificate.
 * @throws KeyError where the chain does not lead to one of `roots`, or not all of it is valid at `now`
 */
export function keyOfChain(x5c: unknown, roots: readonly X509Certificate[], now: Date): TrustedKey {
  if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > maxChain)
    throw new KeyError('not a chain of certificates')
  const [leaf, ...between] = x5c.map(parseLink)
  if (leaf === undefined) throw new KeyError('not a chain of certificates')
  if (!isValid(leaf, now)) throw new KeyError('a certificate is not valid now')
  // An authority may have several certificates of one name and key: those that have ended are as good as not there.
  const livingRoots = roots.filter((one) => isValid(one, now))
  const living = between.filter((one) => isValid(one, now))
  let current = leaf
  for (;;) {
    const { fingerprint256 } = current
    if (roots.some((root) => root.fingerprint256 === fingerprint256)) return trusted(leaf.publicKey)
    if (livingRoots.some((one) => isIssuer(one, current))) return trusted(leaf.publicKey)
    const next = living.findIndex((one) => isIssuer(one, current))
    const [issuer] = next < 0 ? [] : living.splice(next, 1)
    if (issuer === undefined) throw new KeyError('the certificates lead to none that is trusted and valid now')
    current = issuer
  }
}

function parseLink(text: unknown): X509Certificate {
  if (typeof text !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    throw new KeyError('not a chain of certificates')
  try {
    return new X509Certificate(Buffer.from(text, 'base64'))
  } catch (cause) {
    throw new KeyError('a certificate cannot be read', { cause })
  }
}

function isIssuer(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

function isValid({ validFromDate, validToDate }: X509Certificate, now: Date): boolean {
  return now >= validFromDate && now <= validToDate
}

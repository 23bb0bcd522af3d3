// Keys that tokens may be signed with. They come from the configuration alone, and each is good for the algorithms of its
// kind only: a public key is never taken for a shared secret (T-84).
import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'

export interface TrustedKey {
  readonly key: KeyObject
  readonly algorithms: readonly string[]
}

export class KeyError extends Error {
  override readonly name = 'KeyError'
}

/** As many as that belong to a shared secret (RFC 7518 §3.2). */
const leastSecret = 32
const leastModulus = 2048

/** @throws KeyError where it is of no kind that signs, or too weak */
export function trusted(key: KeyObject): TrustedKey {
  return { key, algorithms: algorithmsOf(key) }
}

function algorithmsOf(key: KeyObject): readonly string[] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  if (key.type === 'secret') {
    if ((key.symmetricKeySize ?? 0) < leastSecret) throw new KeyError('a shared secret is shorter than 32 bytes')
    return ['HS256', 'HS384', 'HS512']
  }
  if (key.asymmetricKeyType === 'rsa') {
    if (modulusLength < leastModulus) throw new KeyError('an RSA key is shorter than 2048 bits')
    return ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
  }
  const algorithm = key.asymmetricKeyType === 'ed25519' ? 'EdDSA' : curves.get(namedCurve)
  if (algorithm === undefined) throw new KeyError('a key is of a kind that no token is signed with')
  return [algorithm]
}

const curves: ReadonlyMap<string, string> = new Map([
  ['prime256v1', 'ES256'],
  ['secp384r1', 'ES384'],
  ['secp521r1', 'ES512'],
])

export interface KeySetOptions {
  /** Whether shared secrets may be in it: in what anybody can fetch, they are none. */
  readonly allowsSecrets: boolean
}

/**
 * The keys of a JSON Web Key Set (RFC 7517), by their `kid`. Those for encryption, those without a name, and those of a kind
 * that nobody here knows (§5) are left out: a token server may add a new kind beside the old one.
 * @throws KeyError where it is none, two keys share a name, or none is left
 */
export function parseKeySet(text: string, { allowsSecrets }: KeySetOptions): ReadonlyMap<string, TrustedKey> {
  const keys = new Map<string, TrustedKey>()
  for (const jwk of membersOf(text)) {
    const { kid, use, alg } = jwk
    if (typeof kid !== 'string' || kid === '' || (use !== undefined && use !== 'sig') || !isKnownKind(jwk)) continue
    if (keys.has(kid)) throw new KeyError('two keys have the same kid')
    const key = trusted(importKey(jwk, allowsSecrets))
    const algorithms = alg === undefined ? key.algorithms : key.algorithms.filter((one) => one === alg)
    keys.set(kid, { ...key, algorithms })
  }
  if (keys.size === 0) throw new KeyError('no key in it has a kid and may sign')
  return keys
}

function membersOf(text: string): Record<string, unknown>[] {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new KeyError('not JSON', { cause })
  }
  const keys: unknown = isObject(document) ? document['keys'] : undefined
  if (!Array.isArray(keys) || !keys.every(isObject)) throw new KeyError('not a set of keys')
  return keys
}

function isKnownKind({ kty, crv = '' }: JsonWebKey): boolean {
  if (kty === 'EC') return ['P-256', 'P-384', 'P-521'].includes(crv)
  return kty === 'OKP' ? crv === 'Ed25519' : kty === 'RSA' || kty === 'oct'
}

function importKey(jwk: JsonWebKey, allowsSecrets: boolean): KeyObject {
  if (jwk.kty === 'oct') {
    if (!allowsSecrets) throw new KeyError('a shared secret is in what anybody can fetch')
    return createSecretKey(Buffer.from(typeof jwk.k === 'string' ? jwk.k : '', 'base64url'))
  }
  try {
    return createPublicKey({ key: jwk, format: 'jwk' }) // of a private key too, its public half alone
  } catch (cause) {
    throw new KeyError('a key cannot be read', { cause })
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// Public keys as signatures carry them: JSON Web Keys (RFC 7517), named by libtrust's fingerprint.
import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { coordinateSize, isCurve } from './algorithm.ts'
import { decodeBase64url } from './base64url.ts'
import type { JsonObject } from './json-reader.ts'

/** Its members in the order in which libtrust writes them. */
export type PublicJwk = Readonly<Record<string, string>>

const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const maxModulusSize = 1024

/** The name that libtrust gives a public key: twelve groups of four characters, from the hash of its DER. */
export function keyId(publicKey: KeyObject): string {
  const hash = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
  // 240 bits are 48 characters of five bits each, and nothing is left over.
  const bits = [...hash.subarray(0, 30)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const characters = bits.replace(/.{5}/g, (five) => base32[Number.parseInt(five, 2)] ?? '')
  return characters.replace(/.{4}(?!$)/g, '$&:')
}

export function publicJwk(publicKey: KeyObject): PublicJwk {
  const { crv, e, kty = '', n, x, y } = publicKey.export({ format: 'jwk' })
  const kid = keyId(publicKey)
  if (crv !== undefined && x !== undefined && y !== undefined) return { crv, kid, kty, x, y }
  if (e !== undefined && n !== undefined) return { e, kid, kty, n }
  throw new TypeError('not the public key of a signature')
}

/** The members that make the public half of a key, or undefined where they do not make one. */
export function publicMembers(jwk: JsonObject): JsonWebKey | undefined {
  const { kty, crv, x, y, n, e } = jwk
  if (kty === 'EC' && typeof crv === 'string' && isCurve(crv)) {
    const size = coordinateSize[crv]
    if (!isNumber(x, size, size) || !isNumber(y, size, size)) return undefined
    return { kty, crv, x, y }
  }
  if (kty === 'RSA' && isNumber(n, 1, maxModulusSize) && isNumber(e, 1, 4)) return { kty, n, e }
  return undefined
}

/** Undefined where it is no public key of a kind that schema 1 knows. */
export function parsePublicJwk(jwk: JsonObject): KeyObject | undefined {
  const members = publicMembers(jwk)
  if (members === undefined) return undefined
  try {
    return createPublicKey({ key: members, format: 'jwk' })
  } catch {
    return undefined // a point that is not on its curve
  }
}

function isNumber(value: unknown, least: number, most: number): value is string {
  if (typeof value !== 'string' || value.length > 2 * maxModulusSize) return false
  const bytes = decodeBase64url(value)
  return bytes !== undefined && bytes.length >= least && bytes.length <= most
}

// The signatures of a schema 1 manifest and their proof. Nobody vouches for the keys: what is proved is that the document
// is whole and that each signer had the key it shows.
import { verify, X509Certificate, type KeyObject } from 'node:crypto'
import { algorithms, isAlgorithmName, shapeOf } from './algorithm.ts'
import { decodeBase64url, encodeBase64url } from './base64url.ts'
import type { JsonObject } from './json-reader.ts'
import { keyId, parsePublicJwk } from './public-key.ts'

/** What stops us from believing a manifest that we could read: a signature is missing or wrong. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError'
}

/** One entry of `signatures`, as it came. */
export interface Signature {
  readonly algorithm: string
  /** base64url */
  readonly signature: string
  /** base64url of what is signed besides the payload: where the signatures were cut out, and when it was signed. */
  readonly protectedHeader: string
  readonly jwk: JsonObject | undefined
  /** A chain of certificates, base64 of DER, the signer's first. Where there is one, `jwk` does not count. */
  readonly x5c: readonly string[]
}

/**
 * Proves every signature of a payload and says whose they are.
 * @returns the signers' key ids, in the order of the signatures
 * @throws SignatureError where there is no signature, or any of them is wrong
 */
export function verifySignatures(payload: Uint8Array, signatures: readonly Signature[]): readonly string[] {
  if (signatures.length === 0) throw new SignatureError('the manifest has no signature')
  const encodedPayload = encodeBase64url(payload)
  return signatures.map((signature, index) => verifySignature(encodedPayload, signature, `signatures[${index}]`))
}

function verifySignature(encodedPayload: string, signature: Signature, where: string): string {
  const key = publicKeyOf(signature, where)
  const shape = shapeOf(key)
  if (shape === undefined) throw new SignatureError(`${where}: a kind of key that is not supported`)
  const { algorithm } = signature
  if (!isAlgorithmName(algorithm)) throw new SignatureError(`${where}: an algorithm that is not supported`)
  const { hash, curve } = algorithms[algorithm]
  if (curve !== shape.curve) throw new SignatureError(`${where}: the algorithm does not fit the key`)
  const bytes = decodeBase64url(signature.signature)
  if (bytes === undefined) throw new SignatureError(`${where}: the signature is not base64url`)
  if (bytes.length !== shape.signatureSize) throw new SignatureError(`${where}: the signature has a wrong length`)
  const input = Buffer.from(`${signature.protectedHeader}.${encodedPayload}`)
  if (!isValid(hash, input, key, bytes)) throw new SignatureError(`${where}: the signature is wrong`)
  return keyId(key)
}

function isValid(hash: string, input: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  try {
    return verify(hash, input, { key, dsaEncoding: 'ieee-p1363' }, signature)
  } catch {
    return false // OpenSSL will not work with such a key, an RSA key that is shorter than the hash for one
  }
}

function publicKeyOf({ jwk, x5c }: Signature, where: string): KeyObject {
  const [certificate] = x5c
  if (certificate !== undefined) return keyOfCertificate(certificate, where)
  if (jwk === undefined) throw new SignatureError(`${where}: neither a key nor a certificate`)
  const key = parsePublicJwk(jwk)
  if (key === undefined) throw new SignatureError(`${where}: jwk is not a public key`)
  const { kid } = jwk
  if (kid !== undefined && kid !== keyId(key)) throw new SignatureError(`${where}: the key is not the one of its kid`)
  return key
}

function keyOfCertificate(base64: string, where: string): KeyObject {
  const der = Buffer.from(base64, 'base64')
  try {
    const certificate = new X509Certificate(der)
    if (der.toString('base64') === base64 && certificate.raw.equals(der)) return certificate.publicKey
  } catch {
    // refused below
  }
  throw new SignatureError(`${where}: x5c does not begin with a certificate`)
}

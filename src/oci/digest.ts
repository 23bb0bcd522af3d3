// Content addresses: `algorithm:hex`, parsed once at the door and trusted from there on.
import { createHash } from 'node:crypto'

/** A digest whose algorithm is known and whose hex has that algorithm's exact length, in lower case. */
export type Digest = string & { readonly __digest: unique symbol }

export type DigestAlgorithm = 'sha256' | 'sha512'

const hexLength: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 }

export class DigestError extends Error {
  override readonly name = 'DigestError'
}

function isAlgorithm(name: string): name is DigestAlgorithm {
  return Object.hasOwn(hexLength, name)
}

export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':')
  if (colon < 0) return false
  const algorithm = text.slice(0, colon)
  const hex = text.slice(colon + 1)
  return isAlgorithm(algorithm) && hex.length === hexLength[algorithm] && /^[0-9a-f]+$/.test(hex)
}

/** @throws DigestError where `text` is not a digest of a known algorithm */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new DigestError(`not a digest that this registry knows: ${text.slice(0, 200)}`)
  return text
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** The digest of bytes at hand; `bytes/digester.ts` is for bytes in motion. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`)
}

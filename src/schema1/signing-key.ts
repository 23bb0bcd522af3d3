// The key that we sign with: read from what docker-registry takes as `compatibility.schema1.signingkeyfile`, or made anew.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { algorithmFor, algorithms, shapeOf, type AlgorithmName } from './algorithm.ts'
import { JsonReader } from './json-reader.ts'
import { publicJwk, publicMembers, type PublicJwk } from './public-key.ts'

/** The message is for whoever wrote the configuration; it holds nothing of the key. */
export class SigningKeyError extends Error {
  override readonly name = 'SigningKeyError'
}

export interface SigningKey {
  /** Its public half's name: the `kid` of the signatures. */
  readonly id: string
  readonly algorithm: AlgorithmName
  /** Its public half, as a signature carries it. */
  readonly jwk: PublicJwk
  sign(input: Uint8Array): Buffer
}

const read = new JsonReader(SigningKeyError)
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi']

/**
 * Takes a private key in PEM (`EC PRIVATE KEY`, `RSA PRIVATE KEY`, `PRIVATE KEY`; libtrust's own headers are skipped) or as
 * a JSON Web Key.
 * @throws SigningKeyError where it is none, or one that clients could not verify
 */
export function loadSigningKey(text: string): SigningKey {
  return signingKeyOf(text.trimStart().startsWith('{') ? parseJwk(text) : parsePem(text))
}

/** A P-256 key that nobody has seen before. */
export function generateSigningKey(): SigningKey {
  return signingKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
}

/** @throws SigningKeyError */
export function signingKeyOf(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey)
  const shape = shapeOf(publicKey)
  if (shape === undefined) {
    throw new SigningKeyError('the signing key is neither on P-256, P-384 or P-521 nor RSA of at most 8192 bits')
  }
  const algorithm = algorithmFor(shape)
  const { hash } = algorithms[algorithm]
  const signWith = (input: Uint8Array): Buffer => sign(hash, input, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  const probe = Buffer.from('both halves belong together')
  if (!verify(hash, probe, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signWith(probe))) {
    throw new SigningKeyError("the signing key's halves do not belong together")
  }
  const jwk = publicJwk(publicKey)
  return { id: jwk['kid'] ?? '', algorithm, jwk, sign: signWith }
}

function parsePem(text: string): KeyObject {
  if (/^Proc-Type:/m.test(text) || text.includes('BEGIN ENCRYPTED')) {
    throw new SigningKeyError('the signing key is encrypted')
  }
  try {
    // libtrust writes a `keyID:` line into the block, which OpenSSL would not pass over.
    return createPrivateKey(text.replace(/^[\w-]+: .*(?:\r?\n)+/gm, ''))
  } catch {
    // The cause is dropped: nothing about this text shall reach a log.
    throw new SigningKeyError('the signing key is neither a private key in PEM nor a JSON Web Key')
  }
}

function parseJwk(text: string): KeyObject {
  const jwk = read.parse(Buffer.from(text), 'the signing key')
  const publicHalf = publicMembers(jwk)
  if (publicHalf === undefined || typeof jwk['d'] !== 'string') {
    throw new SigningKeyError('the signing key is not the JSON Web Key of a private EC or RSA key')
  }
  let key: KeyObject
  try {
    const privateHalf = Object.fromEntries(privateMembers.map((name) => [name, jwk[name]]))
    key = createPrivateKey({ key: { ...publicHalf, ...privateHalf }, format: 'jwk' })
  } catch {
    throw new SigningKeyError('the signing key is not the JSON Web Key of a private EC or RSA key')
  }
  if (jwk['kid'] !== undefined && jwk['kid'] !== signingKeyOf(key).id) {
    throw new SigningKeyError("the signing key's kid is not its own")
  }
  return key
}

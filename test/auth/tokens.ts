// Makes tokens, good ones and others: by hand, since no library signs what these tests need.
import { createHmac, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'

export const service = 'registry.test'
export const issuer = 'auth.test'

/** Seconds since 1970 at which the tokens are looked at. */
export const now: number = Math.floor(Date.now() / 1000)

export interface Pair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

export const rsa: Pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
export const ec: Pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const ec384: Pair = generateKeyPairSync('ec', { namedCurve: 'P-384' })
export const ed: Pair = generateKeyPairSync('ed25519')
/** Whoever is not the token server. */
export const stranger: Pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const secret: Buffer = randomBytes(32)

export function jwkOf(key: KeyObject, kid: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { ...key.export({ format: 'jwk' }), kid, ...more }
}

export function keySet(): string {
  const secretKey = { kty: 'oct', kid: 'hs', k: secret.toString('base64url') }
  const keys = [jwkOf(rsa.publicKey, 'rsa'), jwkOf(ec.publicKey, 'ec'), jwkOf(ec384.publicKey, 'ec384')]
  return JSON.stringify({ keys: [...keys, jwkOf(ed.publicKey, 'ed'), secretKey] })
}

export const pull: Readonly<Record<string, unknown>> = { type: 'repository', name: 'team/app', actions: ['pull'] }

export const claims: Readonly<Record<string, unknown>> = {
  iss: issuer,
  sub: 'jane',
  aud: service,
  exp: now + 300,
  nbf: now,
  iat: now,
  jti: 'x',
  access: [pull],
}

export function encode(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return Buffer.from(text).toString('base64url')
}

export type Sign = (data: string) => Buffer

/** Signs as `alg` says, with whatever key. */
export function signer(alg: string, key: KeyObject | Buffer): Sign {
  const hash = `sha${alg.slice(2)}`
  return (data) => {
    if (Buffer.isBuffer(key)) return createHmac(hash, key).update(data).digest()
    if (alg === 'EdDSA') return sign(null, Buffer.from(data), key)
    const padding = alg.startsWith('PS') ? { padding: 6, saltLength: Number(alg.slice(2)) / 8 } : {}
    return sign(hash, Buffer.from(data), { key, dsaEncoding: 'ieee-p1363', ...padding })
  }
}

/** Text in the place of a part is taken as it is, JSON or not. */
export function token(header: unknown, payload: unknown, signWith: Sign): string {
  const data = `${encode(header)}.${encode(payload)}`
  return `${data}.${signWith(data).toString('base64url')}`
}

const byEc = signer('ES256', ec.privateKey)

/** A good one, but for what is said. */
export function minted(payload: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
  return token({ alg: 'ES256', typ: 'JWT', kid: 'ec', ...header }, { ...claims, ...payload }, byEc)
}

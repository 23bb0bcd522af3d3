// The vectors that schema 1 is checked with, and a pen that writes documents nobody should accept.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encodeBase64url } from '../../src/schema1/base64url.ts'
import { signingKeyOf, type SigningKey } from '../../src/schema1/signing-key.ts'

/** The canonical bytes of a small manifest: 302 of them. */
export const payload: Buffer = Buffer.from(`{
   "schemaVersion": 1,
   "name": "a/b",
   "tag": "1",
   "architecture": "amd64",
   "fsLayers": [
      {
         "blobSum": "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
      }
   ],
   "history": [
      {
         "v1Compatibility": "{\\"id\\":\\"x\\"}"
      }
   ]
}`)

/** RFC 7515 A.3 */
export const rfcJwk = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI',
} as const

export const rfcKey: SigningKey = signingKeyOf(createPrivateKey({ key: { ...rfcJwk }, format: 'jwk' }))
export const rfcKeyId = 'FPI3:WDCE:VCL4:GCT2:UCMR:ZXRY:3ADC:7ZCB:3ZIN:UD2G:QJJU:J5QC'

export const vector: Readonly<Record<'digest' | 'formatTail' | 'protected' | 'inputHash' | 'signature', string>> & {
  readonly formatLength: number
  readonly time: Date
} = {
  digest: 'sha256:69cc7fe2daf6c6fab188353cdd6f18733d30457021cf733e004d09d155c0e91f',
  formatLength: 300,
  formatTail: 'Cn0',
  time: new Date('2020-01-02T03:04:05Z'),
  protected: 'eyJmb3JtYXRMZW5ndGgiOjMwMCwiZm9ybWF0VGFpbCI6IkNuMCIsInRpbWUiOiIyMDIwLTAxLTAyVDAzOjA0OjA1WiJ9',
  inputHash: '5200f4febeaf0b804998d3b3aabe6d65391c8d8606cf3bb846cf9599d8a2fcc6',
  signature: '1mNNdcgpxVplaE5b4zqLpFf6G8i82wNwKdGdcpBqPjAVlHxCtk-zbtph1wVBT_u7n76tlb8c6WXRQLp8JVE3eA',
}

/** A certificate on P-256, and its holder's signature of `payload` under `vector.protected`. */
export const certified = {
  x5c: 'MIIBhDCCASugAwIBAgIUeyAz53GjHblDgaQGlZE2403JBUQwCgYIKoZIzj0EAwIwFzEVMBMGA1UEAwwMc2NoZW1hMS50ZXN0MCAXDTI2MTEyMTAzNDYwM1oYDzIxMjYxMDI4MDM0NjAzWjAXMRUwEwYDVQQDDAxzY2hlbWExLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARAL5kxbhXcGgLUqnsYy6erUG4Hzm4ezTNfKXV8ieSc7sShLQQNsNInQp2exjh1LUUtCZCuTQ36HYujWeR4k4i4o1MwUTAdBgNVHQ4EFgQUTHrpwjMaV0Hjbja4Sqzgeku9QwEwHwYDVR0jBBgwFoAUTHrpwjMaV0Hjbja4Sqzgeku9QwEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBCpKHgciuM2+Uo6SQNN5XnTMElqw55L+IRSlS3FUXUWAIgXgLvw3Mu+So0KhNYKwKW1lMRT+xaJHC4SjaADOrAqS4=',
  signature: 'WtvocWZ70VNaCEtstqZdZpe_rK-M9z-8sTwuTD4Fg1wlwaEvf_Hk6eQaO8dV-hI3Jk4yDxlnSzvM7Ov8GuWpfQ',
} as const

export interface Entry {
  readonly header: Readonly<Record<string, unknown>>
  readonly signature: string
  readonly protected: string
}

/** The RFC key's signature of `payload`; the entry that every case below differs from in one thing. */
export const validEntry: Entry = {
  header: { jwk: rfcKey.jwk, alg: 'ES256' },
  signature: vector.signature,
  protected: vector.protected,
}

/** `payload` with `signatures` written into it, whatever they are. */
export function documentWith(signatures: unknown, text: Buffer = payload): Buffer {
  return Buffer.concat([
    text.subarray(0, text.length - 2),
    Buffer.from(`,"signatures":${typeof signatures === 'string' ? signatures : JSON.stringify(signatures)}}`),
  ])
}

export function protectedHeader(header: unknown): string {
  return encodeBase64url(typeof header === 'string' ? header : JSON.stringify(header))
}

/** The entry that `key` makes of `payload`. */
export function entryBy(key: SigningKey): Entry {
  const signature = key.sign(Buffer.from(`${vector.protected}.${encodeBase64url(payload)}`))
  return {
    header: { jwk: key.jwk, alg: key.algorithm },
    signature: encodeBase64url(signature),
    protected: vector.protected,
  }
}

/** The same text with one character in its middle exchanged. */
export function bent(text: string): string {
  const middle = Math.floor(text.length / 2)
  return `${text.slice(0, middle)}${text[middle] === 'A' ? 'B' : 'A'}${text.slice(middle + 1)}`
}

export function ecKey(namedCurve: string): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey
}

export function rsaKey(modulusLength: number): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength }).privateKey
}

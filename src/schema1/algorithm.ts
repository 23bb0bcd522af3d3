// The signature algorithms of schema 1 (RFC 7518 §3.3, §3.4), and which of them a key can serve.
import type { KeyObject } from 'node:crypto'

export type AlgorithmName = 'ES256' | 'ES384' | 'ES512' | 'RS256' | 'RS384' | 'RS512'
export type Curve = 'P-256' | 'P-384' | 'P-521'

interface Algorithm {
  readonly hash: 'sha256' | 'sha384' | 'sha512'
  /** The one curve that it goes with; RSA has none. */
  readonly curve: Curve | undefined
}

export const algorithms: Readonly<Record<AlgorithmName, Algorithm>> = {
  ES256: { hash: 'sha256', curve: 'P-256' },
  ES384: { hash: 'sha384', curve: 'P-384' },
  ES512: { hash: 'sha512', curve: 'P-521' },
  RS256: { hash: 'sha256', curve: undefined },
  RS384: { hash: 'sha384', curve: undefined },
  RS512: { hash: 'sha512', curve: undefined },
}

/** A coordinate's length in bytes. */
export const coordinateSize: Readonly<Record<Curve, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }

const curvesByNodeName: Readonly<Record<string, Curve>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
}

/** More costs us time and proves nothing: nobody vouches for these keys. */
const maxModulusBits = 8192

export function isAlgorithmName(name: string): name is AlgorithmName {
  return Object.hasOwn(algorithms, name)
}

export function isCurve(name: string): name is Curve {
  return Object.hasOwn(coordinateSize, name)
}

/** What signatures by this key look like. */
export interface KeyShape {
  /** `undefined`: an RSA key. */
  readonly curve: Curve | undefined
  /** Bytes of each signature. */
  readonly signatureSize: number
}

/** Undefined where it is a key of a kind that schema 1 does not know, or one too large to work with. */
export function shapeOf(key: KeyObject): KeyShape | undefined {
  const { namedCurve = '', modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') {
    const curve = Object.hasOwn(curvesByNodeName, namedCurve) ? curvesByNodeName[namedCurve] : undefined
    return curve === undefined ? undefined : { curve, signatureSize: 2 * coordinateSize[curve] }
  }
  if (key.asymmetricKeyType !== 'rsa' || modulusLength > maxModulusBits || publicExponent >= 2n ** 32n) return undefined
  return { curve: undefined, signatureSize: Math.ceil(modulusLength / 8) }
}

/** The algorithm that libtrust would sign with. */
export function algorithmFor(shape: KeyShape): AlgorithmName {
  switch (shape.curve) {
    case 'P-384':
      return 'ES384'
    case 'P-521':
      return 'ES512'
    case 'P-256':
      return 'ES256'
    case undefined:
      return 'RS256'
  }
}

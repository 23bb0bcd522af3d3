// Certificates for tests (X.509 v3, RFC 5280), written by hand: no machine needs a program to make them.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { isIPv4 } from 'node:net'

export interface Certified {
  /** In PEM. */
  readonly certificate: string
  /** In PEM. */
  readonly key: string
}

export interface Authority extends Certified {
  issue(options?: CertificateOptions): Certified
  /** Another certificate of its own, of the same name and key, in PEM. */
  again(options: CertificateOptions): string
}

export interface CertificateOptions {
  /** Its DNS names and IPv4 addresses. */
  readonly names?: readonly string[]
  /** Days from now on, or back from now. */
  readonly validFrom?: number
  readonly validTo?: number
  /** Whether it may issue others. */
  readonly isAuthority?: boolean
  /** Of its key, in OpenSSL's words. */
  readonly curve?: string
}

interface Signer {
  readonly name: Buffer
  readonly key: KeyObject
}

export function makeAuthority(): Authority {
  const name = nameOf(`authority ${randomBytes(4).toString('hex')}`)
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signer = { name, key: privateKey }
  const again = (options: CertificateOptions): string =>
    certify(name, publicKey, signer, options, extension(oids.basicConstraints, sequence(boolean(true))))
  return {
    certificate: again({}),
    again,
    key: pemOf(privateKey),
    issue: (options = {}) => issue(options, signer),
  }
}

/** Certified by nobody but itself. */
export function selfSigned(options: CertificateOptions = {}): Certified {
  return issue(options, undefined)
}

/** Certified by one that this module has issued, whether that may or not. */
export function issuedBy(by: Certified, options: CertificateOptions = {}): Certified {
  return issue(options, { name: nameOf('server'), key: createPrivateKey(by.key) })
}

function issue(options: CertificateOptions, signer: Signer | undefined): Certified {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: options.curve ?? 'P-256' })
  const subject = nameOf('server')
  const names = sequence(...(options.names ?? []).map(alternativeName))
  const by = signer ?? { name: subject, key: privateKey }
  const extensions = [extension(oids.subjectAltName, names)]
  if (options.isAuthority === true) extensions.push(extension(oids.basicConstraints, sequence(boolean(true))))
  return {
    certificate: certify(subject, publicKey, by, options, ...extensions),
    key: pemOf(privateKey),
  }
}

function alternativeName(name: string): Buffer {
  return isIPv4(name)
    ? tagged(0x87, Buffer.from(name.split('.').map(Number)))
    : tagged(0x82, Buffer.from(name, 'latin1'))
}

function certify(
  subject: Buffer,
  publicKey: KeyObject,
  signer: Signer,
  { validFrom = -1, validTo = 1 }: CertificateOptions,
  ...extensions: readonly Buffer[]
): string {
  const version3 = tagged(0xa0, integer(Buffer.from([2])))
  const serial = integer(Buffer.concat([Buffer.from([1]), randomBytes(8)]))
  const algorithm = sequence(oids.ecdsaWithSha256)
  const validity = sequence(time(validFrom), time(validTo))
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const parts = [version3, serial, algorithm, signer.name, validity, subject, spki]
  const toBeSigned = sequence(...parts, tagged(0xa3, sequence(...extensions)))
  const signature = Buffer.concat([Buffer.from([0]), sign('sha256', toBeSigned, signer.key)])
  const der = sequence(toBeSigned, algorithm, tagged(0x03, signature))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

const oids = {
  ecdsaWithSha256: objectId('2a8648ce3d040302'), // 1.2.840.10045.4.3.2
  commonName: objectId('550403'), // 2.5.4.3
  subjectAltName: objectId('551d11'), // 2.5.29.17
  basicConstraints: objectId('551d13'), // 2.5.29.19
} as const

function nameOf(text: string): Buffer {
  return sequence(tagged(0x31, sequence(oids.commonName, tagged(0x0c, Buffer.from(text)))))
}

function extension(id: Buffer, value: Buffer): Buffer {
  return sequence(id, tagged(0x04, value))
}

function time(days: number): Buffer {
  const iso = new Date(Date.now() + days * 86_400_000).toISOString() // UTCTime has two digits for the year
  return tagged(0x17, Buffer.from(`${iso.slice(2, 19).replaceAll(/\D/g, '')}Z`))
}

function objectId(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, 'hex'))
}

function boolean(value: boolean): Buffer {
  return tagged(0x01, Buffer.from([value ? 0xff : 0]))
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes)
}

function sequence(...items: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(items))
}

/** DER: tag, length, contents (X.690 §8.1). */
function tagged(tag: number, contents: Buffer): Buffer {
  const size = contents.byteLength
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), contents])
}

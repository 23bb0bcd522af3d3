import assert from 'node:assert/strict'
import { createPublicKey, sign } from 'node:crypto'
import { test } from 'node:test'
import { encodeBase64url } from '../../src/schema1/base64url.ts'
import { parseEnvelope } from '../../src/schema1/envelope.ts'
import { publicJwk } from '../../src/schema1/public-key.ts'
import { SignatureError, verifySignatures } from '../../src/schema1/signature.ts'
import { signingKeyOf } from '../../src/schema1/signing-key.ts'
import {
  bent,
  certified,
  documentWith,
  ecKey,
  entryBy,
  payload,
  rfcKey,
  rfcKeyId,
  rsaKey,
  validEntry,
  vector,
} from './fixture.ts'

function verify(...entries: readonly unknown[]): readonly string[] {
  return verifySignatures(payload, parseEnvelope(documentWith(entries)).signatures)
}

const { kid: _, ...rfcMembers } = rfcKey.jwk
const certifiedEntry = { ...validEntry, header: { alg: 'ES256', x5c: [certified.x5c] }, signature: certified.signature }

test('a valid signature tells whose it is', () => {
  assert.deepEqual(verify(validEntry), [rfcKeyId])
})

test('every kind of key can sign', () => {
  for (const key of [ecKey('P-256'), ecKey('P-384'), ecKey('P-521'), rsaKey(2048)].map(signingKeyOf)) {
    assert.deepEqual(verify(entryBy(key)), [key.id], key.algorithm)
  }
})

test('RSA signs with each of its hashes', () => {
  const privateKey = rsaKey(2048)
  const jwk = publicJwk(createPublicKey(privateKey))
  const input = Buffer.from(`${vector.protected}.${encodeBase64url(payload)}`)
  for (const bits of ['256', '384', '512']) {
    const signature = encodeBase64url(sign(`sha${bits}`, input, privateKey))
    assert.deepEqual(verify({ ...validEntry, header: { jwk, alg: `RS${bits}` }, signature }), [jwk['kid']])
    const other = bits === '256' ? 'RS384' : 'RS256'
    assert.throws(() => verify({ ...validEntry, header: { jwk, alg: other }, signature }), /the signature is wrong/)
  }
})

test('a key without a kid is known by its own', () => {
  assert.deepEqual(verify({ ...validEntry, header: { jwk: rfcMembers, alg: 'ES256' } }), [rfcKeyId])
})

test("a certificate's key proves the signature, and the keys beside it do not count", () => {
  const [id] = verify(certifiedEntry)
  assert.match(id ?? '', /^(?:[A-Z2-7]{4}:){11}[A-Z2-7]{4}$/)
  assert.deepEqual(verify({ ...certifiedEntry, header: { ...certifiedEntry.header, jwk: rfcKey.jwk } }), [id])
  assert.deepEqual(verify({ ...certifiedEntry, header: { alg: 'ES256', x5c: [certified.x5c, 'garbage'] } }), [id])
})

test('all signatures of a manifest are proved, not one of them', () => {
  const other = entryBy(signingKeyOf(ecKey('P-384')))
  assert.equal(verify(validEntry, certifiedEntry, other).length, 3)
  const wrong = { ...other, signature: bent(other.signature) }
  assert.throws(() => verify(wrong, validEntry), /signatures\[0\]: the signature is wrong/)
  assert.throws(() => verify(validEntry, wrong), /signatures\[1\]: the signature is wrong/)
  assert.throws(() => verifySignatures(payload, []), SignatureError)
})

test('a signature that does not fit is refused with a sentence', () => {
  const bytes = Buffer.from(vector.signature, 'base64url')
  const rsa = publicJwk(createPublicKey(rsaKey(2048)))
  const p384 = publicJwk(createPublicKey(ecKey('P-384')))
  const edwards = { kty: 'OKP', crv: 'Ed25519', x: rfcMembers['x'] }
  const x5c = (...chain: readonly unknown[]): unknown => ({ ...certifiedEntry, header: { alg: 'ES256', x5c: chain } })
  const jwk = (members: unknown, alg: unknown = 'ES256'): unknown => ({ ...validEntry, header: { jwk: members, alg } })
  const der = Buffer.from(certified.x5c, 'base64')
  const bad: [string, unknown, RegExp][] = [
    ['a foreign kid', jwk({ ...rfcMembers, kid: bent(rfcKeyId) }), /not the one of its kid/],
    ['an empty kid', jwk({ ...rfcMembers, kid: '' }), /not the one of its kid/],
    ['a number for a kid', jwk({ ...rfcMembers, kid: 7 }), /not the one of its kid/],
    ['another key', jwk(publicJwk(createPublicKey(ecKey('P-256')))), /the signature is wrong/],
    ['no key', jwk(undefined), /neither a key nor a certificate/],
    ['an empty key', jwk({}), /not a public key/],
    ['a secret for a key', jwk({ kty: 'oct', k: 'AAAA' }, 'HS256'), /not a public key/],
    ['an Edwards key', jwk(edwards, 'EdDSA'), /not a public key/],
    ['a coin key', jwk({ ...rfcMembers, crv: 'secp256k1' }, 'ES256K'), /not a public key/],
    ['a point beside its curve', jwk({ ...rfcMembers, y: rfcMembers['x'] }), /not a public key/],
    ['a short coordinate', jwk({ ...rfcMembers, x: 'AA' }), /not a public key/],
    ['a padded coordinate', jwk({ ...rfcMembers, x: `${rfcMembers['x']}=` }), /not a public key/],
    ['a list for a coordinate', jwk({ ...rfcMembers, x: [] }), /not a public key/],
    [
      'an RSA key of 16384 bits',
      jwk({ ...rsa, n: encodeBase64url(Buffer.alloc(2048, 255)) }, 'RS256'),
      /not a public key/,
    ],
    ['an RSA key of a mebibyte', jwk({ ...rsa, n: 'A'.repeat(1024 * 1024) }, 'RS256'), /not a public key/],
    ['a large exponent', jwk({ ...rsa, e: encodeBase64url(Buffer.alloc(5, 255)) }, 'RS256'), /not a public key/],
    ['an RSA key of no bits', jwk({ kty: 'RSA', n: 'AA', e: 'AQAB' }, 'RS256'), /not a public key|wrong/],
    ['no algorithm', { ...validEntry, header: { jwk: rfcKey.jwk } }, /not supported/],
    ['the algorithm none', jwk(rfcKey.jwk, 'none'), /not supported/],
    ["an object's own word", jwk(rfcKey.jwk, 'constructor'), /not supported/],
    ['small letters', jwk(rfcKey.jwk, 'es256'), /not supported/],
    ['the algorithm of another curve', jwk(rfcKey.jwk, 'ES384'), /does not fit the key/],
    ['an RSA algorithm for a curve', jwk(rfcKey.jwk, 'RS256'), /does not fit the key/],
    ['a curve algorithm for RSA', jwk(rsa, 'ES256'), /does not fit the key/],
    ['P-384 under ES256', jwk(p384, 'ES256'), /does not fit the key/],
    ['an EC signature for RSA', jwk(rsa, 'RS256'), /wrong length/],
    ['no signature', { ...validEntry, signature: undefined }, /wrong length/],
    ['63 bytes', { ...validEntry, signature: encodeBase64url(bytes.subarray(1)) }, /wrong length/],
    [
      '65 bytes',
      { ...validEntry, signature: encodeBase64url(Buffer.concat([bytes, bytes.subarray(0, 1)])) },
      /wrong length/,
    ],
    ['nothing but zeros', { ...validEntry, signature: encodeBase64url(Buffer.alloc(64)) }, /the signature is wrong/],
    ['a padded signature', { ...validEntry, signature: `${vector.signature}==` }, /not base64url/],
    ['spare bits', { ...validEntry, signature: `${vector.signature.slice(0, -1)}B` }, /not base64url/],
    ['a line end', { ...validEntry, signature: `${vector.signature}\n` }, /not base64url/],
    ['no certificate', x5c(''), /does not begin with a certificate/],
    ['garbage for a certificate', x5c('AAAA'), /does not begin with a certificate/],
    ['half a certificate', x5c(der.subarray(0, 200).toString('base64')), /does not begin with a certificate/],
    ['bytes after a certificate', x5c(Buffer.concat([der, Buffer.from('x')]).toString('base64')), /does not begin/],
    ['a certificate in base64url', x5c(der.toString('base64url')), /does not begin/],
    [
      'a certificate in PEM',
      x5c(Buffer.from(`-----BEGIN CERTIFICATE-----\n${certified.x5c}\n-----END CERTIFICATE-----\n`).toString('base64')),
      /does not begin/,
    ],
    ['a certificate in second place', x5c('AAAA', certified.x5c), /does not begin/],
    ["another's signature", { ...certifiedEntry, signature: vector.signature }, /the signature is wrong/],
  ]
  for (const [what, entry, message] of bad) {
    assert.throws(
      () => verify(entry),
      (error) => error instanceof SignatureError && message.test(error.message),
      what,
    )
  }
})

import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import { shapeOf } from '../../src/schema1/algorithm.ts'
import { keyId, parsePublicJwk } from '../../src/schema1/public-key.ts'
import { generateSigningKey, loadSigningKey, signingKeyOf, SigningKeyError } from '../../src/schema1/signing-key.ts'
import { ecKey, rfcJwk, rfcKey, rfcKeyId, rsaKey } from './fixture.ts'

function pem(key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1'): string {
  return key.export({ type, format: 'pem' }).toString()
}

function jwkText(key: KeyObject, kid?: string): string {
  return JSON.stringify({ ...key.export({ format: 'jwk' }), ...(kid === undefined ? {} : { kid }) })
}

test("a key's id is libtrust's fingerprint", () => {
  const published = parsePublicJwk({
    kty: 'EC',
    crv: 'P-256',
    x: '3gAwX48IQ5oaYQAYSxor6rYYc_6yjuLCjtQ9LUakg4A',
    y: 't72ge6kIA1XOjqjVoEOiPPAURltJFBMGDSQvEGVB010',
  })
  assert.ok(published !== undefined)
  assert.equal(keyId(published), 'OD6I:6DRK:JXEJ:KBM4:255X:NSAA:MUSF:E4VM:ZI6W:CUN2:L4Z6:LSF4')
  assert.equal(rfcKey.id, rfcKeyId)
})

test('a signing key is read from each of the forms it is kept in', () => {
  const p256 = ecKey('P-256')
  const rsa = rsaKey(2048)
  const { id } = signingKeyOf(p256)
  const sec1 = pem(p256, 'sec1')
  const forms: [string, string, KeyObject][] = [
    ['EC PRIVATE KEY', sec1, p256],
    ['PRIVATE KEY', pem(p256, 'pkcs8'), p256],
    ['RSA PRIVATE KEY', pem(rsa, 'pkcs1'), rsa],
    ['RSA in PKCS 8', pem(rsa, 'pkcs8'), rsa],
    ["libtrust's header", sec1.replace('KEY-----\n', `KEY-----\nkeyID: ${id}\nmy-host: a.example\n\n`), p256],
    [
      "libtrust's header, in CRLF",
      sec1.replace('KEY-----\n', `KEY-----\nkeyID: ${id}\n\n`).replaceAll('\n', '\r\n'),
      p256,
    ],
    [
      'parameters before the key',
      `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${sec1}`,
      p256,
    ],
    ['a JSON Web Key', jwkText(p256), p256],
    ['a JSON Web Key with its kid', jwkText(p256, id), p256],
    ['an RSA JSON Web Key', `\n${jwkText(rsa)}\n`, rsa],
  ]
  for (const [form, text, key] of forms) {
    assert.equal(loadSigningKey(text).id, keyId(createPublicKey(key)), form)
  }
})

test('the algorithm follows the key', () => {
  const algorithms = [ecKey('P-256'), ecKey('P-384'), ecKey('P-521'), rsaKey(2048)].map(
    (key) => signingKeyOf(key).algorithm,
  )
  assert.deepEqual(algorithms, ['ES256', 'ES384', 'ES512', 'RS256'])
})

test('a key is shown as libtrust writes it, without its private half', () => {
  assert.equal(
    JSON.stringify(rfcKey.jwk),
    JSON.stringify({ crv: 'P-256', kid: rfcKeyId, kty: 'EC', x: rfcJwk.x, y: rfcJwk.y }),
  )
  assert.deepEqual(Object.keys(signingKeyOf(rsaKey(2048)).jwk), ['e', 'kid', 'kty', 'n'])
})

test('a key that is too large to work with has no shape', () => {
  const rsa = (bits: number, e = 'AQAB'): KeyObject => {
    const n = Buffer.alloc(bits / 8, 255).toString('base64url')
    return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' })
  }
  assert.deepEqual(shapeOf(rsa(8192)), { curve: undefined, signatureSize: 1024 })
  assert.equal(shapeOf(rsa(8200)), undefined)
  assert.equal(shapeOf(rsa(2048, 'AQAAAAE')), undefined)
})

test('each generated key is another', () => {
  const [one, two] = [generateSigningKey(), generateSigningKey()]
  assert.equal(one.algorithm, 'ES256')
  assert.notEqual(one.id, two.id)
})

test('what is no signing key is refused with a sentence that holds nothing of it', () => {
  const p256 = ecKey('P-256')
  const jwk = p256.export({ format: 'jwk' })
  const passphrase = { cipher: 'aes-256-cbc', passphrase: 'x', format: 'pem' } as const
  const bad: [string, string, RegExp][] = [
    ['nothing', '', /neither a private key in PEM nor/],
    ['a word', 'secret-word', /neither a private key in PEM nor/],
    ['a public key', createPublicKey(p256).export({ type: 'spki', format: 'pem' }).toString(), /neither a private key/],
    ['PKCS 8 under a passphrase', p256.export({ type: 'pkcs8', ...passphrase }).toString(), /encrypted/],
    ['SEC 1 under a passphrase', p256.export({ type: 'sec1', ...passphrase }).toString(), /encrypted/],
    ['half a JSON', '{"kty":"EC","d":"secret-word', /not JSON/],
    ['a public JSON Web Key', JSON.stringify({ ...jwk, d: undefined }), /private EC or RSA key/],
    ['a list for a number', JSON.stringify({ ...jwk, d: [] }), /private EC or RSA key/],
    ['another kid', JSON.stringify({ ...jwk, kid: rfcKeyId }), /kid is not its own/],
    [
      "another's private half",
      JSON.stringify({ ...jwk, d: rfcJwk.d }),
      /halves do not belong together|private EC or RSA/,
    ],
    [
      'an RSA key without its primes',
      JSON.stringify({ ...rsaKey(2048).export({ format: 'jwk' }), p: undefined }),
      /private EC or RSA key/,
    ],
    ['a coin key', pem(ecKey('secp256k1'), 'pkcs8'), /neither on P-256/],
    ['an Edwards key', pem(generateKeyPairSync('ed25519').privateKey, 'pkcs8'), /neither on P-256/],
  ]
  for (const [what, text, message] of bad) {
    assert.throws(
      () => loadSigningKey(text),
      (error) => error instanceof SigningKeyError && message.test(error.message) && !error.message.includes('secret'),
      what,
    )
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeBase64url } from '../../src/schema1/base64url.ts'
import { Schema1Error } from '../../src/schema1/envelope.ts'
import { parseSignedManifest } from '../../src/schema1/manifest.ts'
import { signManifest } from '../../src/schema1/sign.ts'
import { generateSigningKey, signingKeyOf } from '../../src/schema1/signing-key.ts'
import { ecKey, payload, rfcKey, rfcKeyId, rsaKey, vector } from './fixture.ts'

/** The document's end with its one signature, which is another each time, taken out. */
function endOf(document: Buffer, from: number): string {
  return document
    .subarray(from)
    .toString()
    .replace(/"signature":( ?)"[\w-]+"/, '"signature":$1"…"')
}

test('a manifest is signed in the form that libtrust gives it', () => {
  const document = signManifest(payload, rfcKey, vector.time)
  assert.deepEqual(document.subarray(0, vector.formatLength), payload.subarray(0, vector.formatLength))
  assert.equal(
    endOf(document, vector.formatLength),
    `,
   "signatures": [
      {
         "header": {
            "jwk": {
               "crv": "P-256",
               "kid": "${rfcKeyId}",
               "kty": "EC",
               "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
               "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
            },
            "alg": "ES256"
         },
         "signature": "…",
         "protected": "${vector.protected}"
      }
   ]
}`,
  )
  assert.equal(parseSignedManifest(document).digest, vector.digest)
})

test('what was signed is had back, byte for byte, however it was written', () => {
  const document = JSON.parse(payload.toString()) as unknown
  const texts: [string, string][] = [
    ['compact', JSON.stringify(document)],
    ['one space', JSON.stringify(document, null, 1)],
    ['a tab', JSON.stringify(document, null, '\t')],
    ['twelve spaces', payload.toString().replaceAll('\n   "', `\n${' '.repeat(12)}"`)],
    ['a line end behind it', `${payload.toString()}\n`],
    ['white space before it', `\n ${payload.toString()}`],
    ['white space in its end', `${JSON.stringify(document).slice(0, -1)} \r\n\t}\t \n`],
    ['other letters', payload.toString().replace('{\\"id\\":\\"x\\"}', 'Zoë 📦 日本')],
  ]
  for (const [what, text] of texts) {
    const signed = signManifest(Buffer.from(text), rfcKey, vector.time)
    assert.equal(parseSignedManifest(signed).payload.toString(), text, what)
  }
})

test('signatures are indented like the manifest, and compact in a compact one', () => {
  const document = JSON.parse(payload.toString()) as unknown
  const compact = signManifest(Buffer.from(JSON.stringify(document)), rfcKey, vector.time).toString()
  assert.match(compact, /\],"signatures":\[\{"header":\{"jwk":\{"crv":"P-256",[^\n]*"\}\]\}$/)
  const wide = payload.toString().replaceAll('\n   "', `\n${' '.repeat(12)}"`)
  const lines = signManifest(Buffer.from(wide), rfcKey, vector.time).toString().split('\n')
  assert.ok(lines.includes(`${' '.repeat(12)}"signatures": [`))
  assert.ok(lines.includes(`${' '.repeat(36)}"header": {`))
})

test('the time of a signature has whole seconds', () => {
  const document = signManifest(payload, rfcKey, new Date('2020-01-02T03:04:05.678Z'))
  assert.equal(parseSignedManifest(document).signatures[0]?.protectedHeader, vector.protected)
  assert.equal(
    vector.protected,
    encodeBase64url('{"formatLength":300,"formatTail":"Cn0","time":"2020-01-02T03:04:05Z"}'),
  )
})

test('every kind of key signs what we then accept', () => {
  const keys = [ecKey('P-256'), ecKey('P-384'), ecKey('P-521'), rsaKey(2048)].map(signingKeyOf)
  for (const key of [...keys, generateSigningKey()]) {
    const manifest = parseSignedManifest(signManifest(payload, key, new Date()))
    assert.equal(manifest.digest, vector.digest)
    assert.equal(manifest.signatures[0]?.algorithm, key.algorithm)
    assert.equal(manifest.signatures[0].jwk?.['kid'], key.id)
  }
})

test('what does not end like an object with a member is not signed', () => {
  for (const text of ['', '{', '}', '{}', '{ \n }', '[]', '{"a":1,}', '{"a":1}x', ' ']) {
    assert.throws(() => signManifest(Buffer.from(text), rfcKey, vector.time), Schema1Error, text)
  }
})

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { encodeBase64url } from '../../src/schema1/base64url.ts'
import { parseEnvelope, Schema1Error } from '../../src/schema1/envelope.ts'
import { parseCanonicalManifest, parseSignedManifest } from '../../src/schema1/manifest.ts'
import { signManifest } from '../../src/schema1/sign.ts'
import { SignatureError } from '../../src/schema1/signature.ts'
import {
  bent,
  documentWith,
  entryBy,
  payload,
  protectedHeader,
  rfcKey,
  validEntry,
  vector,
  type Entry,
} from './fixture.ts'

function signed(text: string): Buffer {
  return signManifest(Buffer.from(text), rfcKey, vector.time)
}

function withHeader(header: unknown): Entry {
  return { ...validEntry, protected: protectedHeader(header) }
}

/** A fresh manifest with these members exchanged. */
function canonical(changes: Record<string, unknown>): Buffer {
  const document = { ...(JSON.parse(payload.toString()) as Record<string, unknown>), ...changes }
  return Buffer.from(JSON.stringify(document, null, 3))
}

test('a signed manifest is read, and its digest is that of its payload', () => {
  const bytes = documentWith([validEntry])
  const manifest = parseSignedManifest(bytes)
  assert.equal(payload.length, 302)
  assert.deepEqual(manifest.payload, payload)
  assert.equal(manifest.digest, vector.digest)
  assert.notEqual(manifest.digest, digestOf(bytes))
  assert.equal(manifest.name, 'a/b')
  assert.equal(manifest.tag, '1')
  assert.equal(manifest.architecture, 'amd64')
  assert.deepEqual(manifest.layers, ['sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4'])
  assert.deepEqual(manifest.history, ['{"id":"x"}'])
  assert.deepEqual(
    manifest.signatures.map((signature) => signature.signature),
    [vector.signature],
  )
  const input = `${vector.protected}.${encodeBase64url(manifest.payload)}`
  assert.equal(createHash('sha256').update(input).digest('hex'), vector.inputHash)
})

test('a stored payload reads as the document that it came in', () => {
  const { signatures, ...manifest } = parseSignedManifest(documentWith([validEntry]))
  assert.equal(signatures.length, 1)
  assert.deepEqual(parseCanonicalManifest(payload), manifest)
})

test('lengths are counted in bytes, not in characters', () => {
  const text = canonical({ history: [{ v1Compatibility: '{"author":"Zoë 📦 日本"}' }] })
  assert.ok(text.length > text.toString().length)
  const manifest = parseSignedManifest(signManifest(text, rfcKey, vector.time))
  assert.deepEqual(manifest.payload, text)
  assert.deepEqual(manifest.history, ['{"author":"Zoë 📦 日本"}'])
})

test('a payload is what was signed, not what the document says around it', () => {
  const other = Buffer.from(documentWith([validEntry]).toString().replace('}]}', '}],"tag":"other"}'))
  assert.equal((JSON.parse(other.toString()) as Record<string, unknown>)['tag'], 'other')
  assert.equal(parseSignedManifest(other).tag, '1')
})

test('of a key that is given twice the last one counts', () => {
  const bytes = documentWith(`[],"signatures":${JSON.stringify([validEntry])}`)
  assert.equal(parseSignedManifest(bytes).digest, vector.digest)
  assert.throws(
    () => parseSignedManifest(documentWith(`${JSON.stringify([validEntry])},"signatures":[]`)),
    SignatureError,
  )
  assert.equal(parseSignedManifest(signed(payload.toString().replace('"tag"', '"tag":"0","tag"'))).tag, '1')
})

test('what is no schema 1 manifest is refused with a sentence', () => {
  const deep = '['.repeat(200_000)
  const bad: [string, Buffer, RegExp][] = [
    ['nothing', Buffer.alloc(0), /not JSON/],
    ['a page', Buffer.from('<html></html>'), /not JSON/],
    ['a list', Buffer.from('[]'), /not a JSON object/],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /not JSON/],
    ['a byte order mark', Buffer.concat([Buffer.from('\ufeff'), documentWith([validEntry])]), /not JSON/],
    ['something after it', Buffer.concat([documentWith([validEntry]), Buffer.from('{}')]), /not JSON/],
    ['only depth', Buffer.from(deep), /not JSON/],
    ['depth', documentWith(`${deep}${']'.repeat(200_000)}`), /signatures\[0\] is not a JSON object/],
    ['too large', Buffer.alloc(4 * 1024 * 1024 + 1, ' '), /larger than 4194304 bytes/],
    ['schema 2', Buffer.from('{"schemaVersion":2,"layers":[]}'), /schemaVersion/],
    ['no schema', Buffer.from('{}'), /schemaVersion/],
    ['a text for a schema', Buffer.from('{"schemaVersion":"1"}'), /schemaVersion/],
    ['an object of signatures', documentWith({}), /signatures is not a list/],
    ['a text for a signature', documentWith(['x']), /signatures\[0\] is not a JSON object/],
    ['no header', documentWith([{ ...validEntry, header: null }]), /header is not a JSON object/],
    ['a number for alg', documentWith([{ ...validEntry, header: { alg: 1 } }]), /alg is not a text/],
    ['a text for jwk', documentWith([{ ...validEntry, header: { jwk: 'x' } }]), /jwk is not a JSON object/],
    ['a text for x5c', documentWith([{ ...validEntry, header: { x5c: 'x' } }]), /x5c is not a list/],
    ['17 signatures', documentWith(Array(17).fill(validEntry)), /more than 16 signatures/],
    ['a padded header', documentWith([{ ...validEntry, protected: `${vector.protected}==` }]), /not base64url/],
    ['spaces in a header', documentWith([{ ...validEntry, protected: ` ${vector.protected}` }]), /not base64url/],
    ['a standard base64 header', documentWith([{ ...validEntry, protected: 'e30+' }]), /not base64url/],
    ['spare bits in a header', documentWith([{ ...validEntry, protected: 'e31' }]), /not base64url|JSON/],
    ['a header of one character', documentWith([{ ...validEntry, protected: 'e' }]), /not base64url/],
    ['no protected header', documentWith([{ ...validEntry, protected: undefined }]), /not JSON/],
    ['a header that is no JSON', documentWith([withHeader('{')]), /protected header is not JSON/],
    ['a header that is a list', documentWith([withHeader([])]), /protected header is not a JSON object/],
    ['no length', documentWith([withHeader({ formatTail: 'Cn0' })]), /formatLength/],
    ['length 0', documentWith([withHeader({ formatLength: 0, formatTail: 'Cn0' })]), /formatLength/],
    ['a negative length', documentWith([withHeader({ formatLength: -1, formatTail: 'Cn0' })]), /formatLength/],
    ['half a byte', documentWith([withHeader({ formatLength: 1.5, formatTail: 'Cn0' })]), /formatLength/],
    ['a text for a length', documentWith([withHeader({ formatLength: '300', formatTail: 'Cn0' })]), /formatLength/],
    ['an endless length', documentWith([withHeader('{"formatLength":1e999,"formatTail":"Cn0"}')]), /formatLength/],
    [
      'a length beyond it',
      documentWith([withHeader({ formatLength: 99_999, formatTail: 'Cn0' })]),
      /formatLength is more/,
    ],
    ['no tail', documentWith([withHeader({ formatLength: 300 })]), /formatTail/],
    ['a padded tail', documentWith([withHeader({ formatLength: 300, formatTail: 'Cn0=' })]), /formatTail/],
    ['a length too short', documentWith([withHeader({ formatLength: 299, formatTail: 'Cn0' })]), /not JSON/],
    [
      'a tail of schema 2',
      documentWith([withHeader({ formatLength: 1, formatTail: encodeBase64url('"schemaVersion":2}') })]),
      /schemaVersion/,
    ],
    [
      'signatures of two payloads',
      documentWith([validEntry, withHeader({ formatLength: 299, formatTail: 'Cn0' })]),
      /not of the same payload/,
    ],
    [
      'signatures of two tails',
      documentWith([validEntry, withHeader({ formatLength: 300, formatTail: 'fQ' })]),
      /not of the same payload/,
    ],
  ]
  for (const [what, bytes, message] of bad) {
    assert.throws(
      () => parseSignedManifest(bytes),
      (error) => error instanceof Schema1Error && message.test(error.message),
      what,
    )
  }
})

test('a payload that names its layers badly is refused with a sentence', () => {
  const history = [{ v1Compatibility: '{}' }]
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ schemaVersion: 2 }, /schemaVersion/],
    [{ signatures: [] }, /holds signatures/],
    [{ fsLayers: {} }, /fsLayers is not a list/],
    [{ fsLayers: ['x'] }, /fsLayers\[0\] is not a JSON object/],
    [{ fsLayers: [{}] }, /fsLayers\[0\]\.blobSum is not a digest/],
    [{ fsLayers: [{ blobSum: 'sha256:../../x' }] }, /blobSum is not a digest/],
    [{ fsLayers: [{ blobSum: 7 }] }, /blobSum is not a text/],
    [{ fsLayers: [] }, /differ in length/],
    [{ history: [...history, ...history] }, /differ in length/],
    [{ history: null }, /differ in length/],
    [{ history: ['x'] }, /history\[0\] is not a JSON object/],
    [{ history: [{ v1Compatibility: {} }] }, /v1Compatibility is not a text/],
    [{ name: 1 }, /name is not a text/],
    [{ tag: [] }, /tag is not a text/],
    [{ architecture: {} }, /architecture is not a text/],
  ]
  for (const [changes, message] of bad) {
    assert.throws(
      () => parseCanonicalManifest(canonical(changes)),
      (error) => error instanceof Schema1Error && message.test(error.message),
      JSON.stringify(changes),
    )
  }
})

test('a payload is refused for its size, and for a byte order mark', () => {
  const marked = Buffer.concat([Buffer.from('\ufeff'), payload])
  assert.throws(() => parseCanonicalManifest(marked), /not JSON/)
  const padded = Buffer.concat([payload, Buffer.alloc(4 * 1024 * 1024, ' ')])
  assert.throws(() => parseCanonicalManifest(padded), /larger than 4194304 bytes/)
})

test('a name outside the grammar is refused at the door and read from storage', () => {
  for (const name of ['', 'A/B', '../x', 'a'.repeat(256)]) {
    const text = canonical({ name })
    assert.equal(parseCanonicalManifest(text).name, name)
    assert.throws(() => parseSignedManifest(signManifest(text, rfcKey, vector.time)), /not a repository name/)
  }
})

test('a missing signature is told apart from a document that cannot be read', () => {
  for (const bytes of [payload, documentWith([]), documentWith(null)]) {
    assert.throws(() => parseSignedManifest(bytes), SignatureError)
    assert.throws(() => parseEnvelope(bytes), SignatureError)
  }
})

test('whatever was changed since it was signed makes the manifest unproved', () => {
  const document = documentWith([validEntry]).toString()
  const changed: [string, string][] = [
    ['the tag', document.replace('"tag": "1"', '"tag": "2"')],
    ['a layer', document.replace('sha256:a3', 'sha256:b3')],
    ['white space', document.replace('\n   "tag"', '\n\t  "tag"')],
    ['the signature', document.replace(vector.signature, bent(vector.signature))],
    [
      'the time of the signature',
      documentWith([withHeader({ formatLength: 300, formatTail: 'Cn0', time: '2030-01-02T03:04:05Z' })]).toString(),
    ],
    [
      'one signature of two',
      documentWith([validEntry, { ...entryBy(rfcKey), signature: vector.signature.toLowerCase() }]).toString(),
    ],
  ]
  for (const [what, text] of changed) {
    assert.throws(() => parseSignedManifest(Buffer.from(text)), SignatureError, what)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { ManifestError, parseManifest } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { describeReferrer, fallbackTag, formatReferrers, parseReferrers } from '../../src/oci/referrer.ts'

const digest = digestOf('a')
const mediaType = mediaTypes.ociManifest
const plain = { mediaType, digest, size: 7, artifactType: undefined, annotations: undefined }

test('a referrer is about its artifactType, else its config, and an index without one about nothing', () => {
  const config = { mediaType: 'application/vnd.x.config', digest, size: 2 }
  const cases: [Record<string, unknown>, string | undefined][] = [
    [{ config, layers: [], artifactType: 'application/vnd.x' }, 'application/vnd.x'],
    [{ config, layers: [] }, 'application/vnd.x.config'],
    [{ config, layers: [], artifactType: '' }, 'application/vnd.x.config'],
    [{ manifests: [] }, undefined],
    [{ manifests: [], artifactType: 'application/vnd.x' }, 'application/vnd.x'],
  ]
  for (const [document, artifactType] of cases) {
    const manifest = parseManifest(Buffer.from(JSON.stringify({ schemaVersion: 2, ...document })))
    assert.equal(describeReferrer(plain, manifest).artifactType, artifactType)
  }
})

test('the fallback tag is cut as the tag schema cuts it', () => {
  assert.equal(fallbackTag(digest), digest.replace(':', '-'))
  assert.equal(fallbackTag(digestOf('a', 'sha512')).length, 'sha512-'.length + 64)
})

test('a list that was written is read back', () => {
  const full = { ...plain, digest: digestOf('b'), artifactType: 'application/vnd.x', annotations: { 'a.b': 'é' } }
  const bytes = formatReferrers([plain, full])
  assert.deepEqual(parseReferrers(bytes), [plain, full])
  assert.equal(parseManifest(bytes).mediaType, mediaTypes.ociIndex)
})

test('entries that name nothing are left out, and what is odd in an entry does not matter', () => {
  const manifests = [
    7,
    null,
    { mediaType, size: 7 },
    { mediaType, size: 7, digest: 'md5:0' },
    { mediaType, size: -1, digest },
    { size: 7, digest },
    { mediaType, size: 7, digest, artifactType: '', annotations: ['x'], urls: [] },
  ]
  assert.deepEqual(parseReferrers(Buffer.from(JSON.stringify({ manifests }))), [plain])
  assert.deepEqual(parseReferrers(Buffer.from('{"manifests":null}')), [])
  for (const text of ['', '[]', 'null', '{}', '{"manifests":7}', '<html>']) {
    assert.throws(() => parseReferrers(Buffer.from(text)), ManifestError, text)
  }
})

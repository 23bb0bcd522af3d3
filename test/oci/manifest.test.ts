import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManifestError, parseManifest } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'

const digest = `sha256:${'a'.repeat(64)}`
const descriptor = { mediaType: 'application/x', digest, size: 3 }

function parse(document: unknown, declared?: string): ReturnType<typeof parseManifest> {
  return parseManifest(Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)), declared)
}

test('a document names its own media type, whatever it was declared as', () => {
  const document = { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config: descriptor, layers: [descriptor] }
  assert.equal(parse(document, mediaTypes.ociIndex).mediaType, mediaTypes.dockerManifest)
  assert.deepEqual(
    parse(document).blobs.map(({ digest: named }) => named),
    [digest, digest],
  )
})

test('a document without a media type is known by its shape', () => {
  assert.equal(parse({ schemaVersion: 2, manifests: [descriptor] }).mediaType, mediaTypes.ociIndex)
  assert.equal(parse({ schemaVersion: 2, config: descriptor, layers: [] }).mediaType, mediaTypes.ociManifest)
  assert.equal(
    parse({ schemaVersion: 2, blobs: [] }, mediaTypes.ociArtifactManifest).mediaType,
    mediaTypes.ociArtifactManifest,
  )
})

test('what is no manifest is refused with a sentence', () => {
  const bad: [unknown, RegExp][] = [
    ['', /not JSON/],
    ['<html></html>', /not JSON/],
    ['[]', /not a JSON object/],
    ['null', /not a JSON object/],
    ['{"errors":[]}', /schemaVersion/],
    [{ schemaVersion: 1, fsLayers: {} }, /fsLayers/],
    [{ schemaVersion: 1, fsLayers: [{ blobSum: 'x' }] }, /fsLayers\[0\]/],
    [{ schemaVersion: 1, fsLayers: [], signatures: [] }, /signed schema 1/],
    [{ schemaVersion: 2 }, /neither a mediaType nor the shape/],
    [{ schemaVersion: 2, mediaType: 'text/html\r\nx: y' }, /not the type of a manifest/],
    [{ schemaVersion: 2, manifests: [], layers: [] }, /at once/],
    [{ schemaVersion: 2, manifests: [], config: descriptor }, /at once/],
    [{ schemaVersion: 2, mediaType: 'text/html' }, /not the type of a manifest/],
    [{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, manifests: [] }, /without a config/],
    [{ schemaVersion: 2, mediaType: mediaTypes.ociIndex, layers: [] }, /without manifests/],
    ['\ufeff{"schemaVersion":2,"manifests":[]}', /not JSON/],
    [{ schemaVersion: 2, layers: {} }, /not a list|neither/],
    [{ schemaVersion: 2, config: { ...descriptor, digest: 'sha256:..' } }, /config\.digest/],
    [{ schemaVersion: 2, layers: [{ ...descriptor, size: -1 }] }, /layers\[0\]\.size/],
    [{ schemaVersion: 2, layers: [{ ...descriptor, size: 2 ** 53 }] }, /layers\[0\]\.size/],
    [{ schemaVersion: 2, layers: [{ ...descriptor, size: 1.5 }] }, /layers\[0\]\.size/],
  ]
  for (const [document, message] of bad) {
    assert.throws(
      () => parse(document),
      (error) => error instanceof ManifestError && message.test(error.message),
    )
  }
})

test('bytes that are not UTF-8 are no manifest', () => {
  assert.throws(() => parseManifest(Buffer.from([0x7b, 0xff, 0x7d])), ManifestError)
})

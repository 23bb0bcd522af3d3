import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManifestError, parseManifest, parsePushedManifest } from '../../src/oci/manifest.ts'
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

test('what a client pushes is a whole document of its type, what is stored already need not be', () => {
  const { ociManifest, ociIndex, dockerManifest, dockerManifestList, dockerSchema1 } = mediaTypes
  const [config, layers, manifests, blobs] = [descriptor, [descriptor], [descriptor], [descriptor]]
  const incomplete: [unknown, RegExp][] = [
    [{ schemaVersion: 2, layers }, /without a config/],
    [{ schemaVersion: 2, config }, /without layers/],
    [{ schemaVersion: 2, mediaType: ociManifest, config }, /without layers/],
    [{ schemaVersion: 2, mediaType: dockerManifest, config }, /without layers/],
    [{ schemaVersion: 2, manifests, blobs }, /index with blobs/],
    [{ schemaVersion: 2, mediaType: ociIndex, manifests, blobs }, /index with blobs/],
    [{ schemaVersion: 2, mediaType: dockerManifestList, manifests, blobs }, /index with blobs/],
    [{ schemaVersion: 2, mediaType: dockerSchema1, config, layers }, /schema 1/],
  ]
  for (const [document, message] of incomplete) {
    const bytes = Buffer.from(JSON.stringify(document))
    parseManifest(bytes)
    assert.throws(
      () => parsePushedManifest(bytes),
      (error) => error instanceof ManifestError && message.test(error.message),
      JSON.stringify(document),
    )
  }
  const whole: [unknown, string | undefined][] = [
    [{ schemaVersion: 2, config, layers }, undefined],
    [{ schemaVersion: 2, mediaType: ociManifest, config, layers: [] }, undefined],
    [{ schemaVersion: 2, mediaType: ociManifest, config, layers: null }, undefined], // Go's empty list
    [{ schemaVersion: 2, mediaType: ociIndex, manifests: [] }, undefined],
    [{ schemaVersion: 2, manifests }, undefined],
    [{ schemaVersion: 2, mediaType: mediaTypes.ociArtifactManifest }, undefined],
    [{ schemaVersion: 2, blobs }, mediaTypes.ociArtifactManifest],
    [{ mediaType: mediaTypes.ociArtifactManifest, blobs }, undefined], // as image-spec 1.1-rc has it
  ]
  for (const [document, declared] of whole) {
    const bytes = Buffer.from(JSON.stringify(document))
    assert.deepEqual(parsePushedManifest(bytes, declared), parseManifest(bytes, declared))
  }
})

test('bytes that are not UTF-8 are no manifest', () => {
  assert.throws(() => parseManifest(Buffer.from([0x7b, 0xff, 0x7d])), ManifestError)
})

test('a descriptor is kept with what it says besides, as far as that is well-formed', () => {
  const more = { annotations: { a: 'b' }, artifactType: 'application/y', data: 'YWJj' }
  const platform = {
    architecture: 'arm',
    os: 'windows',
    variant: 'v7',
    'os.version': '10.0.1',
    'os.features': ['win32k'],
  }
  const childOf = (said: object): unknown =>
    JSON.parse(JSON.stringify(parse({ schemaVersion: 2, manifests: [{ ...descriptor, ...said }] }).manifests[0]))
  const plain = { ...descriptor, urls: [] }
  assert.deepEqual(childOf({ ...more, platform }), { ...plain, ...more, platform })
  const wrong = { annotations: ['a'], artifactType: 1, data: {} }
  const wrongPlatform = { architecture: 'arm', os: 'linux', variant: 7, 'os.version': [], 'os.features': ['a', 1] }
  assert.deepEqual(childOf({ ...wrong, platform: wrongPlatform }), {
    ...plain,
    platform: { architecture: 'arm', os: 'linux' },
  })
  assert.deepEqual(childOf({ annotations: { a: 1, b: 'c' }, platform: { os: 'linux' } }), {
    ...plain,
    annotations: { b: 'c' },
  })
  assert.deepEqual(childOf({}), plain)
})

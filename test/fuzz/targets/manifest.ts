// Manifests, as they are read and as they may be pushed: src/oci/manifest.ts, src/oci/ambiguous-keys.ts.
import assert from 'node:assert/strict'
import { findAmbiguousKey } from '../../../src/oci/ambiguous-keys.ts'
import { isDigest } from '../../../src/oci/digest.ts'
import { ManifestError, parseManifest, parsePushedManifest, type ParsedManifest } from '../../../src/oci/manifest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import type { Target } from '../fuzzer.ts'

const digest = `sha256:${'0a'.repeat(32)}`
const config = { mediaType: mediaTypes.ociImageConfig, digest, size: 2 }
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 3, urls: ['https://a/'] }
const child = { mediaType: mediaTypes.ociManifest, digest, size: 4, platform: { architecture: 'a', os: 'b' } }
const image = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer], subject: child }
const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [child], annotations: { a: 'b' } }

export const target: Target = {
  seeds: [
    JSON.stringify(image),
    JSON.stringify(index),
    JSON.stringify({ ...image, mediaType: mediaTypes.dockerManifest, artifactType: 'a/b' }),
    JSON.stringify({ schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [], history: [] }),
  ],
  words: [
    '"layers":[]',
    '"manifests":[',
    '"config":{',
    '"__proto__":{}',
    'null',
    '{}',
    '[]',
    '"Layers"',
    '1e400',
    '-1',
    '\\u0000',
    digest,
    ...Object.values(mediaTypes).map((type) => JSON.stringify(type)),
  ],
  check(text) {
    const input = text.toWellFormed() // what is no text has no bytes
    const pushed = read(parsePushedManifest, input)
    const parsed = read(parseManifest, input)
    assert.ok(pushed === undefined || parsed !== undefined, 'what may be pushed can be read')
    if (parsed === undefined) return
    for (const descriptor of [...parsed.blobs, ...parsed.manifests, ...(parsed.subject ? [parsed.subject] : [])]) {
      assert.ok(isDigest(descriptor.digest))
      assert.ok(Number.isSafeInteger(descriptor.size) && descriptor.size >= 0)
    }
    if (findAmbiguousKey(input) !== undefined) return
    assert.deepEqual(read(parseManifest, JSON.stringify(JSON.parse(input))), parsed)
  },
}

function read(parse: (bytes: Uint8Array) => ParsedManifest, text: string): ParsedManifest | undefined {
  try {
    return parse(Buffer.from(text))
  } catch (error) {
    assert.ok(error instanceof ManifestError, String(error))
    return undefined
  }
}

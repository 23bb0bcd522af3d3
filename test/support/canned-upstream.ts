// An upstream without a network, with one image that is the same in every process.
import { streamOf } from './stream-of.ts'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag, type RepositoryName, type Tag } from '../../src/oci/reference.ts'
import type { Manifest } from '../../src/registry/source.ts'
import type { UpstreamSource } from '../../src/registry/upstream-source.ts'

interface CannedImage {
  readonly name: RepositoryName
  readonly tag: Tag
  readonly manifest: { readonly digest: Digest; readonly bytes: Buffer }
  readonly blobs: readonly { readonly digest: Digest; readonly bytes: Buffer }[]
}

export const image: CannedImage = makeImage()

export function cannedUpstream(): UpstreamSource {
  const manifest: Manifest = {
    descriptor: describe(image.manifest, mediaTypes.ociManifest),
    bytes: image.manifest.bytes,
  }
  const blobOf = (digest: Digest): { readonly digest: Digest; readonly bytes: Buffer } => {
    const blob = image.blobs.find((one) => one.digest === digest)
    if (blob === undefined) throw new RegistryError('BLOB_UNKNOWN', digest)
    return blob
  }
  return {
    condition: () => ({ isReachable: true, pullsLeft: undefined }),
    repository: (name) => ({
      name,
      blobs: {
        stat: async (digest) => describe(blobOf(digest), mediaTypes.octetStream),
        async fetch(digest, options) {
          const { bytes } = blobOf(digest)
          const { start = 0, end = bytes.byteLength } = options ?? {}
          const body = streamOf(...chunks(bytes.subarray(start, end)))
          return { size: bytes.byteLength, start, end, host: 'canned.example', validator: undefined, body }
        },
      },
      manifests: { stat: async () => manifest.descriptor, get: async () => manifest },
      tags: {
        resolve: async () => manifest.descriptor,
        find: async () => manifest.descriptor,
        get: async () => manifest,
        async *list() {
          yield image.tag
        },
      },
      referrers: { find: async () => [] },
    }),
  }
}

function makeImage(): CannedImage {
  const blobs = [Buffer.from('{"os":"linux"}'), Buffer.alloc(700_000, 'layer')].map((bytes) => ({
    bytes,
    digest: digestOf(bytes),
  }))
  const [config, layer] = blobs.map((blob) => describe(blob, mediaTypes.octetStream))
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] }),
  )
  return {
    name: parseRepositoryName('library/app'),
    tag: parseTag('v1'),
    manifest: { digest: digestOf(bytes), bytes },
    blobs,
  }
}

function describe({ digest, bytes }: { digest: Digest; bytes: Buffer }, mediaType: string): Descriptor {
  return { mediaType, digest, size: bytes.byteLength }
}

function* chunks(bytes: Buffer): Generator<Buffer, void> {
  for (let at = 0; at < bytes.byteLength; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

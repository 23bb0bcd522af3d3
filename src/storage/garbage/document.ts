// What a stored manifest names, as far as a collection of garbage is concerned.
import { isDigest, type Digest } from '../../oci/digest.ts'
import { ManifestError, parseManifest } from '../../oci/manifest.ts'
import { mediaTypes } from '../../oci/media-type.ts'

export interface StoredDocument {
  /** Blobs and children; a cache index of BuildKit names layers as children. */
  readonly names: readonly Digest[]
  readonly subject: Digest | undefined
  /** Manifests of schema 1 keep their signatures in blobs of their own. */
  readonly isSchema1: boolean
}

/** @throws ManifestError where the bytes are of no kind that can be understood */
export function readDocument(bytes: Uint8Array): StoredDocument {
  const layers = schema1Layers(bytes)
  if (layers !== undefined) return { names: layers, subject: undefined, isSchema1: true }
  const { blobs, manifests, subject } = parseManifest(bytes, mediaTypes.ociArtifactManifest)
  const names = [...blobs, ...manifests].map(({ digest }) => digest)
  return { names, subject: subject?.digest, isSchema1: false }
}

/** `undefined` where it is no manifest of schema 1. */
function schema1Layers(bytes: Uint8Array): Digest[] | undefined {
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(bytes).toString())
  } catch (cause) {
    throw new ManifestError('the document is not JSON', { cause })
  }
  if (typeof document !== 'object' || document === null || !('schemaVersion' in document)) return undefined
  if (document.schemaVersion !== 1) return undefined
  const layers: unknown = 'fsLayers' in document ? document.fsLayers : undefined
  if (!Array.isArray(layers)) throw new ManifestError('fsLayers is not a list')
  return layers.map((layer: unknown) => {
    const sum: unknown = typeof layer === 'object' && layer !== null && 'blobSum' in layer ? layer.blobSum : undefined
    if (typeof sum !== 'string' || !isDigest(sum)) throw new ManifestError('a layer has no digest')
    return sum
  })
}

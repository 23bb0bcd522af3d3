// Schema 1 at the edge: signed manifests come in, images of today go out in its words to clients that know no others. In
// storage there are only payloads without signatures; what leaves is signed with our own key.
import { resolveRange } from '../bytes/range.ts'
import { collect, WholeStream, TooLargeError } from '../bytes/stream.ts'
import { schema1Keys } from '../oci/ambiguous-keys.ts'
import type { Digest } from '../oci/digest.ts'
import { ifPresent, isAbsence, RegistryError } from '../oci/error.ts'
import { maxManifestSize, parseManifest } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { Tag } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { BlobSource, Manifest, Repository } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { ConversionError, convertToSchema1 } from '../schema1/convert.ts'
import { emptyLayer, emptyLayerDigest, emptyLayerSize } from '../schema1/empty-layer.ts'
import { Schema1Error } from '../schema1/envelope.ts'
import { parseSignedManifest, type SignedManifest } from '../schema1/manifest.ts'
import { signManifest } from '../schema1/sign.ts'
import { SignatureError } from '../schema1/signature.ts'
import type { SigningKey } from '../schema1/signing-key.ts'
import { checkKeys, refuse } from './manifest-check.ts'

export interface Schema1Options {
  /** Whether signed manifests are taken, and images converted. What is stored already is served in any case. */
  readonly enabled: boolean
  /** To be asked for where something is signed, not before: it may be made then. */
  readonly key: SigningKey
}

/** A stored payload as it leaves: signed, under the payload's digest. Other manifests leave as they are. */
export function signedForClient(manifest: Manifest, options: Schema1Options): Manifest {
  if (manifest.descriptor.mediaType !== mediaTypes.dockerSchema1Signed) return manifest
  const bytes = signManifest(manifest.bytes, options.key, new Date())
  return { bytes, descriptor: { ...manifest.descriptor, size: bytes.byteLength } }
}

/** @throws RegistryError MANIFEST_INVALID where the image cannot be said in schema 1, or its configuration is missing or too large */
export async function convertImage(
  repository: Repository,
  image: Manifest,
  tag: Tag,
  options: Schema1Options,
  call: CallOptions,
): Promise<Manifest> {
  const { config, blobs } = parseManifest(image.bytes)
  if (config === undefined) throw new RegistryError('MANIFEST_INVALID', 'the image has no configuration')
  const bytes = await readConfig(repository, config.digest, call)
  const layers = blobs.filter((blob) => blob !== config).map(({ digest }) => digest)
  try {
    const { payload, digest } = convertToSchema1({ config: bytes, layers, name: repository.name, tag })
    const descriptor = { mediaType: mediaTypes.dockerSchema1Signed, digest, size: payload.byteLength }
    return signedForClient({ bytes: payload, descriptor }, options)
  } catch (error) {
    if (error instanceof ConversionError) throw new RegistryError('MANIFEST_INVALID', error.message, { cause: error })
    throw error
  }
}

async function readConfig(repository: Repository, digest: Digest, call: CallOptions): Promise<Buffer> {
  try {
    const { body } = await repository.blobs.open(digest, call)
    return await collect(body, maxManifestSize)
  } catch (cause) {
    if (isAbsence(cause)) throw new RegistryError('MANIFEST_INVALID', `${digest} is missing`, { cause })
    if (cause instanceof TooLargeError) throw new RegistryError('MANIFEST_INVALID', `${digest} is too large`, { cause })
    throw cause
  }
}

/**
 * Reads a pushed manifest, and proves its signatures.
 * @throws RegistryError MANIFEST_INVALID, MANIFEST_UNVERIFIED
 */
export function parseSigned(bytes: Uint8Array): SignedManifest {
  let manifest: SignedManifest
  try {
    manifest = parseSignedManifest(bytes)
  } catch (cause) {
    if (cause instanceof SignatureError) throw new RegistryError('MANIFEST_UNVERIFIED', cause.message, { cause })
    if (cause instanceof Schema1Error) throw new RegistryError('MANIFEST_INVALID', cause.message, { cause })
    throw cause
  }
  checkKeys(bytes, schema1Keys)
  checkKeys(manifest.payload, schema1Keys) // its end comes out of the signature
  return manifest
}

/** @throws RegistryErrors MANIFEST_BLOB_UNKNOWN for each layer that is missing */
export async function checkLayers(repository: Repository, layers: readonly Digest[], call: CallOptions): Promise<void> {
  await refuse(missingLayers(repository, layers, call))
}

async function* missingLayers(
  repository: Repository,
  layers: readonly Digest[],
  call: CallOptions,
): AsyncGenerator<RegistryError, void> {
  for (const digest of new Set(layers)) {
    const found = await ifPresent(repository.blobs.stat(digest, { ...call, renew: true }))
    if (found === undefined) yield new RegistryError('MANIFEST_BLOB_UNKNOWN', { digest })
  }
}

/** Stores the empty layer where a manifest names it: whoever asked for it heard that it is here, and did not push it. */
export async function keepEmptyLayer(
  repository: WritableRepository,
  named: readonly Digest[],
  call: CallOptions,
): Promise<void> {
  if (named.includes(emptyLayerDigest)) await repository.blobs.put(emptyLayer(), call)
}

/** A converted image may name a layer that nobody pushed: the empty one, whose bytes everybody knows. */
export function withEmptyLayer(blobs: BlobSource): BlobSource {
  const descriptor = { mediaType: mediaTypes.octetStream, digest: emptyLayerDigest, size: emptyLayerSize }
  return {
    async stat(digest, options) {
      return digest === emptyLayerDigest ? descriptor : await blobs.stat(digest, options)
    },
    async open(digest, options) {
      if (digest !== emptyLayerDigest) return await blobs.open(digest, options)
      const range = resolveRange(options?.range ?? { start: 0 }, emptyLayerSize)
      return { descriptor, range, body: new WholeStream(emptyLayer().subarray(range.start, range.end)) }
    },
  }
}

// Reading the documents that name blobs (image manifests) and other manifests (indexes). The bytes are never rewritten:
// this says what a document is and what it refers to (OCI image-spec v1.1; Docker manifest v2 schema 2).
import { isDigest, type Digest } from './digest.ts'
import type { Descriptor } from './descriptor.ts'
import { bareMediaType, isImageType, isIndexType, mediaTypes } from './media-type.ts'

/** The largest manifest that is read from anyone, in bytes: what the specification asks registries to accept. */
export const maxManifestSize: number = 4 * 1024 * 1024

export class ManifestError extends Error {
  override readonly name = 'ManifestError'
}

/** A descriptor inside a document, with what it says besides. */
export interface ManifestDescriptor extends Descriptor {
  /** Where a foreign layer may be had from; empty otherwise. */
  readonly urls: readonly string[]
  readonly platform: Platform | undefined
  readonly artifactType?: string | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** The content itself, as it stands there: in base64, if the document is right. */
  readonly data?: string | undefined
}

export interface Platform {
  readonly architecture: string
  readonly os: string
  readonly variant?: string | undefined
  readonly 'os.version'?: string | undefined
  readonly 'os.features'?: readonly string[] | undefined
}

export interface ParsedManifest {
  readonly mediaType: string
  readonly config: ManifestDescriptor | undefined
  /** Config, layers and an artifact manifest's blobs: what must be readable under `/blobs/`. */
  readonly blobs: readonly ManifestDescriptor[]
  /** Children of an index. A BuildKit cache index names layers here: read `mediaType` before you follow one. */
  readonly manifests: readonly ManifestDescriptor[]
  readonly subject: Descriptor | undefined
  /** What the document says it is about; an image manifest that does not say is about its config's type. */
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

/**
 * Says what a manifest's bytes are. `declared` is the Content-Type it came with, used only where the document does not
 * name its own type.
 * @throws ManifestError where the bytes are no manifest of a kind that is known by its shape
 */
export function parseManifest(bytes: Uint8Array, declared?: string): ParsedManifest {
  return readManifest(parseDocument(bytes), declared)
}

/**
 * As `parseManifest`, for what a client pushes: a whole document of its type. Others may have stored less, and that stays
 * readable.
 * @throws ManifestError
 */
export function parsePushedManifest(bytes: Uint8Array, declared?: string): ParsedManifest {
  const document = parseDocument(bytes)
  const manifest = readManifest(document, declared)
  checkWhole(manifest.mediaType, document)
  return manifest
}

function readManifest(document: Record<string, unknown>, declared: string | undefined): ParsedManifest {
  const { schemaVersion, mediaType } = document
  if (schemaVersion === 1) return parseSchema1(document)
  // The artifact manifest of image-spec 1.1's release candidates has none.
  const mayLack = schemaVersion === undefined && mediaType === mediaTypes.ociArtifactManifest
  if (schemaVersion !== 2 && !mayLack) throw new ManifestError('schemaVersion is not 2')
  const { config, layers, blobs, manifests, subject } = document
  if (manifests !== undefined && (layers !== undefined || config !== undefined)) {
    throw new ManifestError('the document is an image manifest and an index at once')
  }
  const configDescriptor = config === undefined ? undefined : parseDescriptor(config, 'config')
  const blobDescriptors = [...parseDescriptors(layers, 'layers'), ...parseDescriptors(blobs, 'blobs')]
  return {
    mediaType: mediaTypeOf(document, declared),
    config: configDescriptor,
    blobs: configDescriptor === undefined ? blobDescriptors : [configDescriptor, ...blobDescriptors],
    manifests: parseDescriptors(manifests, 'manifests'),
    subject: subject === undefined || subject === null ? undefined : parseDescriptor(subject, 'subject'),
    artifactType: textOf(document['artifactType']) ?? configDescriptor?.mediaType,
    annotations: parseAnnotations(document['annotations']),
  }
}

function parseAnnotations(value: unknown): Record<string, string> | undefined {
  if (!isObject(value)) return undefined
  const entries = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return Object.fromEntries(entries)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Whoever reads the type and whoever looks for the keys must see the same kind of document (CVE-2021-41190). */
function checkShape(mediaType: string, document: Record<string, unknown>): void {
  if (isIndexType(mediaType) && !Array.isArray(document['manifests'])) {
    throw new ManifestError('an index without manifests')
  }
  if (isImageType(mediaType) && (document['manifests'] !== undefined || !isObject(document['config']))) {
    throw new ManifestError('an image manifest without a config')
  }
}

/** What the specifications ask of a document besides, whether or not it names its type itself. */
function checkWhole(mediaType: string, document: Record<string, unknown>): void {
  checkShape(mediaType, document)
  const { schemaVersion, layers, blobs } = document
  if (isImageType(mediaType) && layers === undefined) throw new ManifestError('an image manifest without layers')
  if (isIndexType(mediaType) && blobs !== undefined) throw new ManifestError('an index with blobs')
  if (mediaType === mediaTypes.dockerSchema1 && schemaVersion === 2) {
    throw new ManifestError('schemaVersion is 2, mediaType that of schema 1')
  }
}

/** The payload of a schema 1 manifest, as it is stored: without signatures. It does not say how large its layers are. */
function parseSchema1(document: Record<string, unknown>): ParsedManifest {
  const { fsLayers, signatures } = document
  if (signatures !== undefined) throw new ManifestError('the document is a signed schema 1 manifest')
  if (!Array.isArray(fsLayers)) throw new ManifestError('fsLayers is not a list')
  const blobs = fsLayers.map((layer: unknown, index): ManifestDescriptor => {
    const blobSum = isObject(layer) ? layer['blobSum'] : undefined
    if (!isDigestText(blobSum)) throw new ManifestError(`fsLayers[${index}].blobSum is not a digest`)
    return { digest: blobSum, size: 0, mediaType: mediaTypes.octetStream, urls: [], platform: undefined }
  })
  return {
    mediaType: mediaTypes.dockerSchema1Signed,
    config: undefined,
    blobs,
    manifests: [],
    subject: undefined,
    artifactType: undefined,
    annotations: undefined,
  }
}

/** The `schemaVersion` of a document that may be of any kind; `undefined` where it is no document. */
export function schemaVersionOf(bytes: Uint8Array): unknown {
  try {
    return parseDocument(bytes)['schemaVersion']
  } catch (error) {
    if (error instanceof ManifestError) return undefined
    throw error
  }
}

function mediaTypeOf(document: Record<string, unknown>, declared: string | undefined): string {
  const own = document['mediaType']
  if (own !== undefined && own !== '') {
    if (typeof own !== 'string' || !/^application\/[\w.-]+\+json$/.test(own)) {
      throw new ManifestError('mediaType is not the type of a manifest')
    }
    checkShape(own, document)
    return own
  }
  if (Array.isArray(document['manifests'])) return mediaTypes.ociIndex
  if (document['config'] !== undefined || Array.isArray(document['layers'])) return mediaTypes.ociManifest
  if (declared !== undefined && bareMediaType(declared) === mediaTypes.ociArtifactManifest) {
    return mediaTypes.ociArtifactManifest
  }
  throw new ManifestError('the document has neither a mediaType nor the shape of a manifest')
}

function parseDocument(bytes: Uint8Array): Record<string, unknown> {
  let document: unknown
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw new ManifestError('the document is not JSON', { cause })
  }
  if (!isObject(document)) throw new ManifestError('the document is not a JSON object')
  return document
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseDescriptors(value: unknown, where: string): ManifestDescriptor[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new ManifestError(`${where} is not a list`)
  return value.map((entry, index) => parseDescriptor(entry, `${where}[${index}]`))
}

function parseDescriptor(value: unknown, where: string): ManifestDescriptor {
  if (!isObject(value)) throw new ManifestError(`${where} is not a descriptor`)
  const { digest, size, mediaType, urls, platform, artifactType, annotations, data } = value
  if (!isDigestText(digest)) throw new ManifestError(`${where}.digest is not a digest`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new ManifestError(`${where}.size is not a number of bytes`)
  }
  return {
    digest,
    size,
    mediaType: textOf(mediaType) ?? mediaTypes.octetStream,
    urls: Array.isArray(urls) ? urls.map(String) : [],
    platform: parsePlatform(platform),
    artifactType: textOf(artifactType),
    annotations: parseAnnotations(annotations),
    data: textOf(data),
  }
}

function parsePlatform(value: unknown): Platform | undefined {
  if (!isObject(value)) return undefined
  const { architecture, os, variant, 'os.version': version, 'os.features': features } = value
  if (typeof architecture !== 'string' || typeof os !== 'string') return undefined
  return {
    architecture,
    os,
    variant: textOf(variant),
    'os.version': textOf(version),
    'os.features': isTexts(features) ? features : undefined,
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function isDigestText(value: unknown): value is Digest {
  return typeof value === 'string' && isDigest(value)
}

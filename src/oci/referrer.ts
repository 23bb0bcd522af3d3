// Manifests that point at another one, their subject: signatures, SBOMs, attestations (distribution-spec, «Listing
// Referrers», «Referrers Tag Schema»).
import type { Descriptor } from './descriptor.ts'
import { algorithmOf, hexOf, isDigest, type Digest } from './digest.ts'
import { ManifestError, type ParsedManifest } from './manifest.ts'
import { mediaTypes } from './media-type.ts'
import { parseTag, type Tag } from './reference.ts'

/** A referrer as a list shows it: its descriptor, with what it says of itself. */
export interface Referrer extends Descriptor {
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

export function describeReferrer(descriptor: Descriptor, manifest: ParsedManifest): Referrer {
  const { mediaType, digest, size } = descriptor
  return { mediaType, digest, size, artifactType: manifest.artifactType, annotations: manifest.annotations }
}

/** The tag under which clients keep a list of referrers themselves, where a registry has no API for it. */
export function fallbackTag(subject: Digest): Tag {
  return parseTag(`${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`)
}

/** A list of referrers as an index, the form that they travel in. */
export function formatReferrers(referrers: readonly Referrer[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: referrers }))
}

/**
 * Reads a list that someone else wrote. Entries that name nothing that could be fetched are left out.
 * @throws ManifestError where the bytes are no index
 */
export function parseReferrers(bytes: Uint8Array): Referrer[] {
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(bytes).toString())
  } catch (cause) {
    throw new ManifestError('the list of referrers is not JSON', { cause })
  }
  if (!isObject(document) || !('manifests' in document)) throw new ManifestError('the document is not an index')
  const { manifests } = document
  if (manifests === null) return []
  if (!Array.isArray(manifests)) throw new ManifestError('manifests is not a list')
  return manifests.map(parseReferrer).filter((entry) => entry !== undefined)
}

function parseReferrer(value: unknown): Referrer | undefined {
  if (!isObject(value)) return undefined
  const { mediaType, digest, size, artifactType, annotations } = value
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest)) return undefined
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
  return {
    mediaType,
    digest,
    size,
    artifactType: typeof artifactType === 'string' && artifactType !== '' ? artifactType : undefined,
    annotations: isObject(annotations) ? textsOf(annotations) : undefined,
  }
}

function textsOf(annotations: Record<string, unknown>): Record<string, string> {
  const entries = Object.entries(annotations)
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

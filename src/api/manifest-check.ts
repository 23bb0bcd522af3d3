// What a pushed manifest must be before it is stored: one document to every reader, with everything it names in place.
import { findAmbiguousKey, type StructuralKeys } from '../oci/ambiguous-keys.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { ifPresent, RegistryError, RegistryErrors } from '../oci/error.ts'
import { ManifestError, parsePushedManifest, type ManifestDescriptor, type ParsedManifest } from '../oci/manifest.ts'
import { isForeignLayer, isImagePart, isIndexType, isManifestType, mediaTypes } from '../oci/media-type.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Repository } from '../registry/source.ts'

/** distribution's `validation` and `policy` sections. */
export interface ManifestRules {
  /** `validation.disabled`: neither the URLs of layers nor the children of an index are looked at. */
  readonly disabled: boolean
  /** Whether a layer may name this URL, a foreign one or not. */
  readonly isAllowedUrl: (url: string) => boolean
  /** Whether a child of an index must be here. */
  readonly isRequiredChild: (child: ManifestDescriptor) => boolean
  /** Classes of manifests that may be pushed (`policy.repository.classes`); empty: all. */
  readonly classes: readonly string[]
}

/**
 * `declared` is the bare media type of the request.
 * @throws RegistryError MANIFEST_INVALID, DENIED
 */
export function checkDocument(bytes: Uint8Array, declared: string | undefined, rules: ManifestRules): ParsedManifest {
  let manifest: ParsedManifest
  try {
    manifest = parsePushedManifest(bytes, declared)
  } catch (error) {
    if (error instanceof ManifestError) throw new RegistryError('MANIFEST_INVALID', error.message, { cause: error })
    throw error
  }
  checkKeys(bytes)
  if (declared !== undefined && declared !== 'application/json' && declared !== manifest.mediaType.toLowerCase()) {
    throw new RegistryError('MANIFEST_INVALID', `Content-Type is ${declared}, the document is ${manifest.mediaType}`)
  }
  if (!isIndexType(manifest.mediaType)) checkClass(manifest.config?.mediaType ?? manifest.mediaType, rules)
  return manifest
}

/** @throws RegistryError MANIFEST_INVALID where two readers of a document might see two things */
export function checkKeys(bytes: Uint8Array, keys?: StructuralKeys): void {
  const ambiguous = findAmbiguousKey(Buffer.from(bytes).toString(), keys)
  if (ambiguous === undefined) return
  throw new RegistryError('MANIFEST_INVALID', `the key ${JSON.stringify(ambiguous.slice(0, 100))} is ambiguous`)
}

/**
 * Of an image, the type of its config says which class it is. An index has none: its children were asked.
 * @throws RegistryError DENIED
 */
export function checkClass(mediaType: string, { classes }: ManifestRules): void {
  if (classes.length === 0) return
  const own = manifestClasses.get(mediaType)
  if (own === undefined) throw new RegistryError('DENIED', `unknown manifest class for ${mediaType}`)
  if (!classes.includes(own)) throw new RegistryError('DENIED', `registry does not allow ${own} manifest`)
}

const manifestClasses: ReadonlyMap<string, string> = new Map([
  [mediaTypes.dockerImageConfig, 'image'],
  [mediaTypes.ociImageConfig, 'image'],
  [mediaTypes.dockerPluginConfig, 'plugin'],
  [mediaTypes.dockerSchema1Signed, 'image'],
])

/**
 * Looks for all that a manifest names; its subject need not be here.
 * @throws RegistryErrors MANIFEST_BLOB_UNKNOWN for each thing that is missing
 */
export async function checkReferences(
  repository: Repository,
  manifest: ParsedManifest,
  rules: ManifestRules,
  call: CallOptions,
): Promise<void> {
  await refuse(problemsOf(repository, manifest, rules, call))
}

async function* problemsOf(
  repository: Repository,
  manifest: ParsedManifest,
  rules: ManifestRules,
  call: CallOptions,
): AsyncGenerator<RegistryError, void> {
  for (const blob of unlike(manifest.blobs)) {
    const problem = await checkBlob(repository, blob, rules, call)
    if (problem !== undefined) yield problem
  }
  for (const child of manifest.manifests) {
    if (rules.disabled || !rules.isRequiredChild(child) || (await hasChild(repository, child, call))) continue
    yield new RegistryError('MANIFEST_BLOB_UNKNOWN', { digest: child.digest })
  }
}

/** @throws RegistryErrors that names every problem: a manifest of 4 MiB has room for so many only */
export async function refuse(problems: AsyncIterable<RegistryError>): Promise<void> {
  const [first, ...others] = await Array.fromAsync(problems)
  if (first !== undefined) throw new RegistryErrors([first, ...others])
}

/** One of each: a digest may be named as a foreign layer in one place, and as one of ours in another. */
function unlike(blobs: readonly ManifestDescriptor[]): Iterable<ManifestDescriptor> {
  const keyed = blobs.map((blob) => [JSON.stringify([blob.digest, blob.mediaType, blob.urls]), blob] as const)
  return new Map(keyed).values()
}

async function checkBlob(
  repository: Repository,
  blob: ManifestDescriptor,
  rules: ManifestRules,
  call: CallOptions,
): Promise<RegistryError | undefined> {
  const { digest, mediaType, urls } = blob
  const isChecked = !rules.disabled && isImagePart(mediaType)
  if (isChecked && urls.some((url) => !rules.isAllowedUrl(url))) {
    return new RegistryError('MANIFEST_INVALID', `${digest}: the URL of this layer is not allowed here`)
  }
  if (isForeignLayer(mediaType) && urls.length > 0) return undefined // its bytes are meant to stay where they are
  if (await isHere(repository.blobs.stat(digest, { ...call, renew: true }))) return undefined
  return new RegistryError('MANIFEST_BLOB_UNKNOWN', { digest })
}

/** A child is a manifest; the cache indexes of BuildKit name layers, which are blobs. */
async function hasChild(repository: Repository, child: Descriptor, call: CallOptions): Promise<boolean> {
  const relied = { ...call, renew: true }
  if (await isHere(repository.manifests.stat(child.digest, relied))) return true
  return !isManifestType(child.mediaType) && (await isHere(repository.blobs.stat(child.digest, relied)))
}

async function isHere(found: Promise<unknown>): Promise<boolean> {
  return (await ifPresent(found)) !== undefined
}

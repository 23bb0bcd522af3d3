// PUT and DELETE of manifests and tags (distribution-spec, «Pushing manifests», «Content Management»).
import { collect, TooLargeError } from '../bytes/stream.ts'
import type { Reply } from '../http/exchange.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { maxManifestSize, schemaVersionOf } from '../oci/manifest.ts'
import { bareMediaType, mediaTypes } from '../oci/media-type.ts'
import { isTag, type Reference, type Tag } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { RemovableRepository } from '../registry/store.ts'
import { locationOf } from './location.ts'
import { checkClass, checkDocument, checkReferences, type ManifestRules } from './manifest-check.ts'
import { checkLayers, keepEmptyLayer, parseSigned, type Schema1Options } from './schema1.ts'
import type { UploadRequest } from './uploads.ts'

/** How many tags one push may set (distribution-spec development head asks for at least 10). */
const maxTags = 50

/** Stores the manifest, then points the tags at it. */
export async function pushManifest(ask: UploadRequest, reference: Reference, policy: PushPolicy): Promise<Reply> {
  const { repository, request, options, call } = ask
  const tags = tagsOf(reference, request.query.getAll('tag'))
  const body = await readBody(request.body, request.headers['content-length'])
  const { bytes, mediaType, subject } = await check(ask, body, policy)
  const digest = reference.kind === 'digest' ? reference.digest : undefined
  const stored = await repository.manifests.put(bytes, { ...call, digest, mediaType })
  for (const tag of tags) await repository.tags.put(tag, stored.descriptor.digest, call)
  return {
    status: 201,
    headers: {
      location: locationOf(`v2/${repository.name}/manifests/${stored.descriptor.digest}`, request, options),
      'docker-content-digest': stored.descriptor.digest,
      ...(subject === undefined ? {} : { 'oci-subject': subject.digest }),
      ...(reference.kind === 'digest' && tags.length > 0 ? { 'oci-tag': tags } : {}),
    },
  }
}

export interface PushPolicy {
  readonly rules: ManifestRules
  readonly schema1: Schema1Options
}

/** What is to be stored of a body that is fit to be: all of it, or of a schema 1 manifest what its signatures are of. */
async function check(
  { repository, request, call }: UploadRequest,
  body: Buffer,
  { rules, schema1 }: PushPolicy,
): Promise<{ bytes: Uint8Array; mediaType: string | undefined; subject?: Descriptor | undefined }> {
  const declared = bareMediaType(request.headers['content-type'] ?? '')
  if (isSchema1(declared, body)) {
    if (!schema1.enabled) throw new RegistryError('MANIFEST_INVALID', 'schema 1 manifests are not taken here')
    const { payload, layers } = parseSigned(body)
    checkClass(mediaTypes.dockerSchema1Signed, rules)
    await keepEmptyLayer(repository, layers, call)
    await checkLayers(repository, layers, call)
    return { bytes: payload, mediaType: mediaTypes.dockerSchema1Signed }
  }
  const contentType = declared === '' ? undefined : declared
  const manifest = checkDocument(body, contentType, rules)
  const named = manifest.blobs.map(({ digest }) => digest)
  if (schema1.enabled) await keepEmptyLayer(repository, named, call)
  await checkReferences(repository, manifest, rules, call)
  return { bytes: body, mediaType: contentType, subject: manifest.subject }
}

function isSchema1(declared: string, body: Uint8Array): boolean {
  if (declared === mediaTypes.dockerSchema1 || declared === mediaTypes.dockerSchema1Signed) return true
  return (declared === '' || declared === 'application/json') && schemaVersionOf(body) === 1
}

function tagsOf(reference: Reference, named: readonly string[]): Tag[] {
  if (reference.kind === 'tag') return [reference.tag]
  if (named.length > maxTags) throw new RegistryError('TAG_INVALID', `more than ${maxTags} tags`)
  return named.map((tag) => {
    if (!isTag(tag)) throw new RegistryError('TAG_INVALID', { tag: tag.slice(0, 200) })
    return tag
  })
}

async function readBody(body: AsyncIterable<Uint8Array>, length: string | undefined): Promise<Buffer> {
  const tooLarge = new RegistryError('MANIFEST_TOO_LARGE', `a manifest has at most ${maxManifestSize} bytes`)
  if (length !== undefined && Number(length) > maxManifestSize) throw tooLarge
  try {
    return await collect(body, maxManifestSize)
  } catch (error) {
    if (error instanceof TooLargeError) throw tooLarge
    throw error
  }
}

/** By tag only the tag goes; by digest the manifest goes, and every tag that points at it (as distribution has it). */
export async function removeManifest(
  repository: RemovableRepository,
  reference: Reference,
  call: CallOptions,
): Promise<Reply> {
  if (reference.kind === 'tag') await repository.tags.delete(reference.tag, call)
  else await removeWithTags(repository, reference.digest, call)
  return { status: 202, headers: {} }
}

async function removeWithTags(repository: RemovableRepository, digest: Digest, call: CallOptions): Promise<void> {
  for await (const tag of repository.tags.pointingAt(digest, call)) {
    await repository.tags.delete(tag, { ...call, onlyIf: digest }) // somebody may be moving or deleting it
  }
  await repository.manifests.delete(digest, call)
}

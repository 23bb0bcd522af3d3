// GET and HEAD of a manifest, by tag or digest (distribution-spec, «Pulling manifests»).
import type { OutgoingHttpHeaders } from 'node:http'
import type { Reply } from '../http/exchange.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { parseManifest } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { Reference, Tag } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Manifest, Repository } from '../registry/source.ts'
import { entityTag, noneMatch } from './conditional.ts'
import { parseAccept, type Accepted } from './negotiation.ts'
import { convertImage, signedForClient, type Schema1Options } from './schema1.ts'

export interface ManifestRequest {
  readonly head: boolean
  readonly accept: string | undefined
  readonly ifNoneMatch: string | undefined
  readonly schema1: Schema1Options
  /** Whether the client may be about to push, and rely on what it is told. */
  readonly renew: boolean
}

/** By digest the answer is exactly those bytes; by tag it is what the client can read. */
export async function readManifest(
  repository: Repository,
  reference: Reference,
  request: ManifestRequest,
  call: CallOptions,
): Promise<Reply> {
  return reference.kind === 'digest'
    ? await readByDigest(repository, reference.digest, request, call)
    : await readByTag(repository, reference.tag, request, call)
}

async function readByDigest(
  repository: Repository,
  digest: Digest,
  { head, ifNoneMatch, schema1, renew }: ManifestRequest,
  call: CallOptions,
): Promise<Reply> {
  if (head || noneMatch(ifNoneMatch, digest)) {
    const descriptor = await repository.manifests.stat(digest, { ...call, renew })
    if (noneMatch(ifNoneMatch, digest)) return { status: 304, headers: identity(descriptor) }
    if (!isSignedOnLeaving(descriptor)) return { status: 200, headers: headersOf(descriptor) }
  }
  const { descriptor, bytes } = signedForClient(await repository.manifests.get(digest, call), schema1)
  return { status: 200, headers: headersOf(descriptor), body: head ? undefined : bytes }
}

async function readByTag(
  repository: Repository,
  tag: Tag,
  request: ManifestRequest,
  call: CallOptions,
): Promise<Reply> {
  const { head, ifNoneMatch, schema1, renew } = request
  const stored = await repository.tags.resolve(tag, call)
  if (head) await repository.manifests.stat(stored.digest, { ...call, renew })
  const vary = { vary: 'accept' }
  if (noneMatch(ifNoneMatch, stored.digest)) return { status: 304, headers: { ...identity(stored), ...vary } }
  const choice = choose(stored.mediaType, request)
  if (head && choice === 'as it is' && !isSignedOnLeaving(stored)) {
    return { status: 200, headers: { ...headersOf(stored), ...vary } }
  }
  const manifest = await repository.manifests.get(stored.digest, call)
  const { descriptor, bytes } =
    choice === 'as it is'
      ? signedForClient(manifest, schema1)
      : await convert(repository, manifest, choice, tag, request, call)
  if (noneMatch(ifNoneMatch, descriptor.digest)) return { status: 304, headers: { ...identity(descriptor), ...vary } }
  return { status: 200, headers: { ...headersOf(descriptor), ...vary }, body: head ? undefined : bytes }
}

/** Its length is known only once it is signed. */
function isSignedOnLeaving({ mediaType }: Descriptor): boolean {
  return mediaType === mediaTypes.dockerSchema1Signed
}

type Choice = 'as it is' | 'a child' | 'schema 1'

/** What distribution's 2.x would do, but for what is said in `negotiation.ts`. */
function choose(mediaType: string, { accept, schema1 }: ManifestRequest): Choice {
  const accepted = parseAccept(accept)
  const isOld = schema1.enabled && accepted.isUnsaid // docker before 1.10 says nothing and knows nothing
  if (mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.ociIndex) {
    if (accepted.accepts(mediaType)) return 'as it is'
    const what = mediaType === mediaTypes.ociIndex ? 'index' : 'manifest'
    const plural = mediaType === mediaTypes.ociIndex ? 'OCI indexes' : 'OCI manifests'
    throw new RegistryError('MANIFEST_UNKNOWN', `OCI ${what} found, but accept header does not support ${plural}`)
  }
  if (mediaType === mediaTypes.dockerManifestList) {
    return accepted.accepts(mediaType) && !isOld ? 'as it is' : 'a child'
  }
  return needsSchema1(mediaType, accepted, schema1) ? 'schema 1' : 'as it is'
}

function needsSchema1(mediaType: string, accepted: Accepted, { enabled }: Schema1Options): boolean {
  return enabled && mediaType === mediaTypes.dockerManifest && (accepted.isUnsaid || !accepted.accepts(mediaType))
}

async function convert(
  repository: Repository,
  manifest: Manifest,
  choice: Exclude<Choice, 'as it is'>,
  tag: Tag,
  { accept, schema1 }: ManifestRequest,
  call: CallOptions,
): Promise<Manifest> {
  const image = choice === 'a child' ? await repository.manifests.get(defaultChild(manifest.bytes), call) : manifest
  const isOld = needsSchema1(image.descriptor.mediaType, parseAccept(accept), schema1)
  return isOld ? await convertImage(repository, image, tag, schema1, call) : image
}

/** The image of a list that clients of before lists get: the first for linux on amd64. */
function defaultChild(list: Uint8Array): Digest {
  const { manifests } = parseManifest(list)
  const child = manifests.find(({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64')
  if (child === undefined) throw new RegistryError('MANIFEST_UNKNOWN', 'the list has no image for linux on amd64')
  return child.digest
}

function identity(descriptor: Descriptor): OutgoingHttpHeaders {
  return { etag: entityTag(descriptor.digest), 'docker-content-digest': descriptor.digest }
}

function headersOf(descriptor: Descriptor): OutgoingHttpHeaders {
  return { 'content-type': descriptor.mediaType, 'content-length': descriptor.size, ...identity(descriptor) }
}

// GET and HEAD of a manifest, by tag or digest (distribution-spec, «Pulling manifests»).
import type { OutgoingHttpHeaders } from 'node:http'
import type { Reply } from '../http/exchange.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Reference } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Repository } from '../registry/source.ts'
import { entityTag, noneMatch } from './conditional.ts'

export interface ManifestRequest {
  readonly head: boolean
  readonly ifNoneMatch: string | undefined
}

export async function readManifest(
  repository: Repository,
  reference: Reference,
  request: ManifestRequest,
  call: CallOptions,
): Promise<Reply> {
  const resolved = reference.kind === 'tag' ? await repository.tags.resolve(reference.tag, call) : undefined
  const digest = reference.kind === 'tag' ? resolved?.digest : reference.digest
  if (digest === undefined) throw new Error('a reference without a digest')
  if (request.head || noneMatch(request.ifNoneMatch, digest)) {
    const descriptor = resolved ?? (await repository.manifests.stat(digest, call))
    if (noneMatch(request.ifNoneMatch, digest)) return { status: 304, headers: identity(descriptor) }
    return { status: 200, headers: contentHeaders(descriptor) }
  }
  const manifest = await repository.manifests.get(digest, call)
  return { status: 200, headers: contentHeaders(manifest.descriptor), body: manifest.bytes }
}

function identity(descriptor: Descriptor): OutgoingHttpHeaders {
  return { etag: entityTag(descriptor.digest), 'docker-content-digest': descriptor.digest }
}

function contentHeaders(descriptor: Descriptor): OutgoingHttpHeaders {
  return { 'content-type': descriptor.mediaType, 'content-length': descriptor.size, ...identity(descriptor) }
}

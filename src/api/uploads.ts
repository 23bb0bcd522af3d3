// Uploads of blobs (distribution-spec, «Pushing blobs»): a session is begun, appended to, and committed or cancelled.
import type { OutgoingHttpHeaders } from 'node:http'
import type { Reply, Request } from '../http/exchange.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { isRepositoryName, type RepositoryName } from '../oci/reference.ts'
import type { AccessController } from '../registry/access.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Registry } from '../registry/registry.ts'
import { isStorageFull } from '../registry/storage-full.ts'
import type { Upload, WritableRepository } from '../registry/store.ts'
import { parseChunkRange, type Chunk } from './content-range.ts'
import { locationOf, type LocationOptions } from './location.ts'
import { loggedProblem } from './problem.ts'
import { signUploadState, verifyUploadState } from './upload-state.ts'

export interface UploadOptions extends LocationOptions {
  /** Signs the state in Locations; replicas share it, and it outlives a restart. */
  readonly secret: string
  /** Who is asked before anything else; `undefined`: the doors are open. */
  readonly access?: AccessController | undefined
}

/** One request about uploads to one repository. */
export interface UploadRequest {
  readonly repository: WritableRepository
  readonly request: Request
  readonly options: UploadOptions
  readonly call: CallOptions
}

/** POST: a session, or with `digest` a whole blob at once, or with `mount` a blob that another repository has. */
export async function startUpload(registry: Registry, ask: UploadRequest): Promise<Reply> {
  const { repository, request, options, call } = ask
  const { query } = request
  const mount = query.get('mount') ?? ''
  if (isDigest(mount)) {
    // Where rights are kept apart, a blob comes from nowhere but where the client may name.
    const from = query.get('from') ?? (options.access === undefined ? registry.holderOf(mount) : undefined)
    if (from !== undefined && isRepositoryName(from) && (await mountBlob(registry, ask, mount, from))) {
      return createdReply(ask, mount)
    }
  }
  const algorithm = query.get('digest-algorithm')
  if (algorithm !== null && algorithm !== 'sha256' && algorithm !== 'sha512') {
    throw new RegistryError('DIGEST_INVALID', { 'digest-algorithm': algorithm.slice(0, 100) })
  }
  const digest = query.has('digest') ? digestOf(request) : undefined
  await using upload = await repository.uploads.create(call)
  if (digest === undefined) {
    await upload.close()
    return sessionReply(ask, upload, 202)
  }
  await upload.append(request.body, call)
  await upload.commit(digest, call)
  return createdReply(ask, digest)
}

/** GET, HEAD: how far a session has come. A state that has been overtaken does no harm here. */
export async function readUpload(ask: UploadRequest, id: string): Promise<Reply> {
  await using upload = await ask.repository.uploads.resume(id, ask.call)
  await upload.close()
  return sessionReply(ask, upload, 204)
}

/** PATCH: appends the body, or the chunk that `Content-Range` places. */
export async function appendUpload(ask: UploadRequest, id: string): Promise<Reply> {
  return await withSession(ask, id, async (upload) => {
    await upload.close()
    return sessionReply(ask, upload, 202)
  })
}

/** PUT: appends what is left, if anything, and commits the blob under `digest`. */
export async function finishUpload(ask: UploadRequest, id: string): Promise<Reply> {
  const digest = digestOf(ask.request)
  return await withSession(ask, id, async (upload) => {
    await upload.commit(digest, ask.call)
    return createdReply(ask, digest)
  })
}

export async function cancelUpload(ask: UploadRequest, id: string): Promise<Reply> {
  checkState(ask, id)
  const upload = await ask.repository.uploads.resume(id, ask.call)
  await upload.abort()
  return { status: 204, headers: { 'docker-upload-uuid': upload.id } }
}

/**
 * Opens a session, appends the request's body where it belongs, and goes on. Whatever fails, the session's bytes stay, but where
 * room was lacking: they would keep the disk full for all others, until they are purged.
 */
async function withSession(ask: UploadRequest, id: string, next: (upload: Upload) => Promise<Reply>): Promise<Reply> {
  const { request, call } = ask
  const { offset } = checkState(ask, id)
  const upload = await ask.repository.uploads.resume(id, call)
  try {
    const chunk = parseChunkRange(request.headers['content-range'])
    const length = request.headers['content-length']
    if (offset !== upload.size || (chunk !== undefined && chunk.start !== upload.size)) throw outOfOrder(upload)
    if (chunk !== undefined && length !== undefined && Number(length) !== chunk.length) {
      throw new RegistryError('SIZE_INVALID', `the body has ${length} bytes, Content-Range says ${chunk.length}`)
    }
    await upload.append(chunk === undefined ? request.body : exactly(chunk, request.body), call)
    return await next(upload)
  } catch (error) {
    if (isStorageFull(error)) await upload.abort()
    if (!(error instanceof RegistryError)) throw error
    if (error.code === 'RANGE_INVALID') return rangeReply(ask, upload, error)
    if (error.code !== 'BLOB_UPLOAD_INVALID') throw error
    await upload.close()
    await using overtaken = await ask.repository.uploads.resume(id, call) // another request was faster
    await overtaken.close()
    return rangeReply(ask, overtaken, outOfOrder(overtaken))
  } finally {
    await upload.close() // nothing to do where it was committed
  }
}

/** A chunk's bytes. @throws RegistryError SIZE_INVALID where the body has more, which are not passed on, or fewer */
async function* exactly({ length }: Chunk, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let left = length
  for await (const bytes of body) {
    yield bytes.subarray(0, left)
    left -= bytes.byteLength
    if (left < 0) break
  }
  if (left !== 0) throw new RegistryError('SIZE_INVALID', `the body has not the ${length} bytes of its Content-Range`)
}

function outOfOrder({ size }: Upload): RegistryError {
  return new RegistryError('RANGE_INVALID', `this session holds ${size} bytes`)
}

/** Tells the client where to go on (distribution-spec: 416, and the session stays usable). */
function rangeReply(ask: UploadRequest, upload: Upload, error: RegistryError): Reply {
  const problem = loggedProblem(ask.request, error)
  return { ...problem, headers: { ...problem.headers, ...sessionHeaders(ask, upload) } }
}

/** @throws RegistryError BLOB_UPLOAD_INVALID: the session is another repository's, or the client never began it */
function checkState({ repository, request, options }: UploadRequest, id: string): { readonly offset: number } {
  const state = verifyUploadState(request.query.get('_state') ?? '', repository.name, id, options.secret)
  if (state === undefined) throw new RegistryError('BLOB_UPLOAD_INVALID', 'the Location of this upload is not ours')
  return state
}

function digestOf({ query }: Request): Digest {
  const digest = query.get('digest') ?? ''
  if (!isDigest(digest)) throw new RegistryError('DIGEST_INVALID', { digest: digest.slice(0, 200) })
  return digest
}

/** Whether the blob is visible in the repository now. The right to it is the link of the repository that it is to come from. */
async function mountBlob(
  registry: Registry,
  { repository, call }: UploadRequest,
  digest: Digest,
  from: RepositoryName,
): Promise<boolean> {
  const { user, granted } = call.trace ?? {}
  try {
    const trace = { granted, ...(user === undefined ? {} : { user }) } // and nothing of the request: nobody pulls there
    await registry.repository(from, { trace }).blobs.stat(digest, call)
    await repository.blobs.link(digest, { ...call, from })
    return true
  } catch (error) {
    if (error instanceof RegistryError) return false // absent, or an upstream that does not say: the client uploads it
    throw error
  }
}

function createdReply({ repository, request, options }: UploadRequest, digest: Digest): Reply {
  const location = locationOf(`v2/${repository.name}/blobs/${digest}`, request, options)
  return { status: 201, headers: { location, 'docker-content-digest': digest } }
}

function sessionReply(ask: UploadRequest, upload: Upload, status: 202 | 204): Reply {
  return { status, headers: sessionHeaders(ask, upload) }
}

function sessionHeaders({ repository, request, options }: UploadRequest, upload: Upload): OutgoingHttpHeaders {
  const { id, size: offset, startedAt } = upload
  const state = signUploadState({ name: repository.name, id, offset, startedAt }, options.secret)
  const path = `v2/${repository.name satisfies RepositoryName}/blobs/uploads/${id}?_state=${encodeURIComponent(state)}`
  return {
    location: locationOf(path, request, options),
    range: `0-${Math.max(0, offset - 1)}`,
    'docker-upload-uuid': id,
    'oci-chunk-min-length': '1',
  }
}

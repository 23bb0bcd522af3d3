// An upstream's blobs: bytes in motion, which the caller verifies.
import { blobDescriptor, type Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, digestOf, isDigest, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { FetchedBlob, FetchOptions, UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Answer } from './answer.ts'
import { parseContentLength, parseContentRange } from './content-range.ts'
import { answerError, headUnusable } from './refusal.ts'
import type { Session } from './session.ts'

export class UpstreamBlobSource implements UpstreamBlobs {
  readonly #session: Session
  readonly #repository: RepositoryName

  constructor(session: Session, repository: RepositoryName) {
    this.#session = session
    this.#repository = repository
  }

  async stat(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    const answer = await this.#ask('HEAD', digest, {}, options)
    await answer.discard()
    if (answer.status === 200) {
      this.#requireDigest(answer, digest)
      const size = parseContentLength(answer.header('content-length'))
      if (size !== undefined && (size > 0 || isOfNothing(digest))) return blobDescriptor(digest, size)
    } else if (!headUnusable.has(answer.status) && !this.#refusedElsewhere(answer)) {
      throw await this.#refusal(answer, digest)
    }
    return blobDescriptor(digest, await this.#sizeByRange(digest, options))
  }

  async fetch(digest: Digest, options?: FetchOptions): Promise<FetchedBlob> {
    const { start = 0, end } = options ?? {}
    const isPart = start > 0 || end !== undefined
    const headers: Record<string, string> = isPart
      ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` }
      : {}
    const answer = await this.#ask('GET', digest, headers, options)
    if (answer.status !== 200 && !(answer.status === 206 && isPart)) throw await this.#refusal(answer, digest)
    answer.requireIdentity()
    if (answer.status === 206) return await partOf(answer, start, end)
    this.#requireDigest(answer, digest)
    const size = parseContentLength(answer.header('content-length'))
    return { ...sender(answer), size, start: 0, end: size, body: answer.stream(size) }
  }

  /** A presigned URL is good for one method: what refuses HEAD may answer a GET of one byte, which names the size. */
  async #sizeByRange(digest: Digest, options: CallOptions | undefined): Promise<number> {
    const answer = await this.#ask('GET', digest, { range: 'bytes=0-0' }, options)
    const { status } = answer
    const range = parseContentRange(answer.header('content-range'))
    const size = status === 200 ? parseContentLength(answer.header('content-length')) : range?.size
    // Of an empty blob no byte can be asked for: 416, with the size.
    if (status !== 200 && status !== 206 && !(status === 416 && size === 0)) throw await this.#refusal(answer, digest)
    await answer.abandon()
    if (size !== undefined) return size
    throw new UpstreamError('invalid', answer.host, `${answer.host} does not say how large ${digest} is`)
  }

  async #ask(
    method: 'GET' | 'HEAD',
    digest: Digest,
    headers: Readonly<Record<string, string>>,
    options: CallOptions | undefined,
  ): Promise<Answer> {
    const repository = this.#repository
    const target = `blobs/${digest}`
    return await this.#session.send({
      method,
      kind: 'blob',
      repository,
      target,
      headers: { accept: '*/*', ...headers },
      signal: options?.signal,
    })
  }

  #refusedElsewhere(answer: Answer): boolean {
    return this.#session.isForeign(answer) && answer.status >= 400 && answer.status < 500 && answer.status !== 429
  }

  #requireDigest(answer: Answer, digest: Digest): void {
    const announced = answer.header('docker-content-digest')
    if (announced === undefined || !isDigest(announced) || announced === digest) return
    if (algorithmOf(announced) !== algorithmOf(digest)) return
    void answer.abandon()
    throw new UpstreamError('invalid', answer.host, `${answer.host} has another digest for ${digest}`)
  }

  async #refusal(answer: Answer, digest: Digest): Promise<Error> {
    const error = await answerError(answer)
    if (answer.status === 404) return new RegistryError('BLOB_UNKNOWN', digest, { cause: error })
    // The registry said yes, and where its signed URL leads to said no: the URL is at fault, not the right to the blob.
    if (answer.status !== 403 || !this.#session.isForeign(answer)) return error
    return new UpstreamError('unavailable', error.host, error.message, { status: error.status, cause: error })
  }
}

/** Servers exist that answer any HEAD with a length of 0. */
function isOfNothing(digest: Digest): boolean {
  return digest === digestOf(new Uint8Array(), algorithmOf(digest))
}

/**
 * A part that may be put behind the bytes that came before: it is not encoded, begins where it was asked to, goes as far
 * as it was asked to in a whole whose size is known, and has the length that it claims.
 */
async function partOf(answer: Answer, start: number, end = Infinity): Promise<FetchedBlob> {
  const range = parseContentRange(answer.header('content-range'))
  const length = parseContentLength(answer.header('content-length'))
  const { interval, size } = range ?? {}
  if (size !== undefined && interval?.start === start && interval.end === Math.min(end, size)) {
    if (length === interval.end - start) {
      return { ...sender(answer), size, start, end: interval.end, body: answer.stream(length) }
    }
  }
  await answer.abandon()
  throw new UpstreamError('invalid', answer.host, `${answer.host} sent another part than the one asked for`, {
    status: answer.status,
  })
}

function sender(answer: Answer): Pick<FetchedBlob, 'host' | 'validator'> {
  const etag = answer.header('etag')
  const isStrong = etag?.startsWith('"') === true
  return { host: answer.host, validator: isStrong ? `${answer.url.origin} ${etag}` : undefined }
}

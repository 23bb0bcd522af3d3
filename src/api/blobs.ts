// GET and HEAD of a blob, whole or in ranges (distribution-spec, «Pulling blobs»; RFC 9110 §14).
import { randomUUID } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http'
import { contentRange, parseRangeHeader, resolveRange, type ByteRange, type RangeSpec } from '../bytes/range.ts'
import type { ByteStream } from '../bytes/stream.ts'
import type { Reply } from '../http/exchange.ts'
import type { Digest } from '../oci/digest.ts'
import { RangeNotSatisfiableError } from '../oci/error.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { CallOptions } from '../registry/call.ts'
import type { BlobSource, OpenOptions } from '../registry/source.ts'
import { entityTag, noneMatch, rangeApplies } from './conditional.ts'

export interface BlobRequest {
  readonly head: boolean
  readonly ifNoneMatch: string | undefined
  readonly ifRange: string | undefined
  readonly range: string | undefined
  /** Whether the client may be about to push, and rely on what it is told. */
  readonly renew: boolean
}

export async function readBlob(
  blobs: BlobSource,
  digest: Digest,
  request: BlobRequest,
  call: CallOptions,
): Promise<Reply> {
  if (noneMatch(request.ifNoneMatch, digest)) {
    await blobs.stat(digest, { ...call, renew: request.renew })
    return { status: 304, headers: identity(digest) }
  }
  if (request.head) {
    const { size } = await blobs.stat(digest, { ...call, renew: request.renew })
    return { status: 200, headers: { ...contentHeaders(digest), 'content-length': size } }
  }
  const specs = rangeApplies(request.ifRange, digest) ? parseRangeHeader(request.range) : undefined
  if (specs === undefined) return await readWhole(blobs, digest, { ...call, canRedirect: request.range === undefined })
  const [only, ...others] = specs
  if (only === undefined) throw new RangeNotSatisfiableError((await blobs.stat(digest, call)).size)
  if (others.length === 0) return await readPart(blobs, digest, only, call)
  return await readParts(blobs, digest, specs, call)
}

/** Nothing about a redirect may be remembered for long: what it leads to is signed for minutes only, maybe. */
async function readWhole(blobs: BlobSource, digest: Digest, options: OpenOptions): Promise<Reply> {
  const { descriptor, body, location } = await blobs.open(digest, options)
  if (location !== undefined) {
    await body[Symbol.asyncDispose]()
    return { status: 307, headers: { location: location.href, 'docker-content-digest': digest } }
  }
  return { status: 200, headers: { ...contentHeaders(digest), 'content-length': descriptor.size }, body }
}

async function readPart(blobs: BlobSource, digest: Digest, spec: RangeSpec, call: CallOptions): Promise<Reply> {
  const { descriptor, range, body } = await blobs.open(digest, { ...call, range: spec })
  return {
    status: 206,
    headers: {
      ...contentHeaders(digest),
      'content-length': range.end - range.start,
      'content-range': contentRange(range, descriptor.size),
    },
    body,
  }
}

/** Several ranges in one answer (RFC 9110 §14.6): zstd:chunked clients read a layer's table of contents this way. */
async function readParts(
  blobs: BlobSource,
  digest: Digest,
  specs: readonly RangeSpec[],
  call: CallOptions,
): Promise<Reply> {
  const { size } = await blobs.stat(digest, call)
  const ranges = satisfiable(specs, size)
  const [only, ...others] = ranges
  if (only === undefined) throw new RangeNotSatisfiableError(size)
  if (others.length === 0) return await readPart(blobs, digest, only, call)
  const asked = ranges.reduce((sum, range) => sum + range.end - range.start, 0)
  if (asked > size) return await readWhole(blobs, digest, call)
  const boundary = randomUUID()
  const heads = ranges.map((range) =>
    Buffer.from(
      `\r\n--${boundary}\r\ncontent-type: ${mediaTypes.octetStream}\r\ncontent-range: ${contentRange(range, size)}\r\n\r\n`,
    ),
  )
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  return {
    status: 206,
    headers: {
      ...contentHeaders(digest),
      'content-type': `multipart/byteranges; boundary=${boundary}`,
      'content-length': asked + tail.byteLength + heads.reduce((sum, head) => sum + head.byteLength, 0),
    },
    body: multipart(blobs, digest, ranges, heads, tail, call),
  }
}

function satisfiable(specs: readonly RangeSpec[], size: number): ByteRange[] {
  return specs.flatMap((spec) => {
    try {
      return [resolveRange(spec, size)]
    } catch (error) {
      if (error instanceof RangeNotSatisfiableError) return []
      throw error
    }
  })
}

/** Parts are opened one after the other: one that was never reached holds nothing. */
function multipart(
  blobs: BlobSource,
  digest: Digest,
  ranges: readonly ByteRange[],
  heads: readonly Uint8Array[],
  tail: Uint8Array,
  call: CallOptions,
): ByteStream {
  async function* parts(): AsyncGenerator<Uint8Array, void> {
    for (const [index, range] of ranges.entries()) {
      const head = heads[index]
      if (head !== undefined) yield head
      const part = await blobs.open(digest, { ...call, range })
      yield* part.body
    }
    yield tail
  }
  return parts()
}

function identity(digest: Digest): OutgoingHttpHeaders {
  return { etag: entityTag(digest), 'docker-content-digest': digest, 'cache-control': 'max-age=31536000' }
}

function contentHeaders(digest: Digest): OutgoingHttpHeaders {
  return { 'content-type': mediaTypes.octetStream, 'accept-ranges': 'bytes', ...identity(digest) }
}

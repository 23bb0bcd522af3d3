// Answers of a moment ago, given again to whoever asks the same: found without a wait, and without asking storage.
import { LRUCache } from 'lru-cache'
import { WholeStream, type ByteStream } from '../bytes/stream.ts'
import type { Reply, Request } from '../http/exchange.ts'
import type { Trace } from '../registry/call.ts'

/**
 * Milliseconds for which an answer is given again. It may come of what was seen that long ago already (`trust` of links), and
 * what another process changes shows within the second that both make.
 */
const lifetime = 500

/** Bytes of all answers; most of their bodies lie in memory anyway. */
const maxSize = 16 * 1024 * 1024

/** Bytes of the largest body that is kept here; what storage keeps may be larger. */
const maxBody = 64 * 1024

/** What an answer costs besides a body. */
const overhead = 2048

/** Characters of a target and an `Accept` that clients send; longer ones are made to fill memory. */
const maxKey = 1024

/** Of a log line, what tells of the content; all else is of one request: who asked, its trace. */
const contentFields = ['kind', 'repository', 'reference', 'from', 'upstream'] as const

interface HotReply {
  /** Of a body that storage keeps. */
  readonly again: ByteStream['again']
  /** For whoever has a right to it. */
  readonly reply: Reply
  /** The same, for everybody. */
  readonly forAll: Reply & { readonly holds: () => boolean }
  /** Of its request's log line: `contentFields`. */
  readonly log: Readonly<Record<string, unknown>>
  readonly size: number
}

/**
 * Only of what cannot have become wrong: content by digest, and the tags of copies, which are asked of an upstream every
 * few minutes at most. A tag that clients push here is looked up each time: another server may have moved it.
 */
export class HotReplies {
  readonly #replies = new LRUCache<string, HotReply>({ maxSize, sizeCalculation: ({ size }) => size })
  readonly #now: () => number
  #generation = 0

  /** `now`: a clock that is never set back, in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Another number once a client has changed something: what was asked before is not to be kept. */
  get generation(): number {
    return this.#generation
  }

  /**
   * The answer, its log fields added to the request's, with a body that is the caller's to send. Whether the client, or
   * everybody, may have it is the caller's to know.
   */
  find(request: Request): Pick<HotReply, 'reply' | 'forAll'> | undefined {
    if (request.method !== 'GET') return undefined
    const hot = this.#replies.get(keyOf(request))
    if (hot === undefined || !hot.forAll.holds() || isParticular(request)) return undefined
    const { reply, forAll, again, log } = hot
    const body = again?.()
    if (again !== undefined && body === undefined) return undefined
    Object.assign(request.log, log)
    return body === undefined ? hot : { reply: { ...reply, body }, forAll: { ...forAll, body } }
  }

  /** Keeps an answer that may be given again; `generation` is that of when it was asked for. */
  keep(request: Request, reply: Reply, trace: Trace, generation: number): void {
    if (request.method !== 'GET' || isParticular(request)) return
    if (reply.status !== 200 || trace.from !== 'local' || trace.warning !== undefined) return
    if (!isLasting(request, trace)) return
    const { bytes, again } = keptBody(reply)
    if (bytes === undefined && again === undefined) return
    const key = keyOf(request)
    if (key.length > maxKey) return
    const until = this.#now() + lifetime
    const holds = (): boolean => generation === this.#generation && this.#now() < until
    this.#replies.set(key, {
      again,
      reply: { ...reply, body: bytes },
      forAll: { ...reply, body: bytes, holds },
      log: contentLog(request),
      size: (bytes?.byteLength ?? 0) + overhead,
    })
  }

  /** Forgets them all: a client has changed something. */
  clear(): void {
    this.#generation++
    this.#replies.clear()
  }
}

/** What can be given again of a reply: its bytes, or where they are kept. */
function keptBody({ body }: Reply): { readonly bytes?: Uint8Array; readonly again: ByteStream['again'] } {
  const bytes = body instanceof WholeStream ? body.bytes : body
  if (!(bytes instanceof Uint8Array)) return { again: bytes?.again }
  return bytes.byteLength > maxBody ? { again: undefined } : { bytes, again: undefined }
}

function keyOf({ target, headers }: Request): string {
  return `${target} ${headers.accept ?? ''}`
}

function contentLog({ log }: Request): Record<string, unknown> {
  return Object.fromEntries(contentFields.filter((field) => field in log).map((field) => [field, log[field]]))
}

/** Asked with conditions, or for a part. */
function isParticular({ headers }: Request): boolean {
  return (
    headers['if-none-match'] !== undefined ||
    headers.range !== undefined ||
    headers['if-range'] !== undefined ||
    headers.expect !== undefined
  )
}

function isLasting({ log }: Request, { upstream }: Trace): boolean {
  const { kind, reference } = log
  if (kind !== 'blob' && kind !== 'manifest') return false
  return upstream !== undefined || (typeof reference === 'string' && reference.includes(':'))
}

// Sends a reply. What has gone wrong after the headers left destroys the socket: an answer is complete or visibly broken.
import type { ServerResponse } from 'node:http'
import { WholeStream, type ByteStream } from '../bytes/stream.ts'
import { ClientGoneError, type Reply } from './exchange.ts'
import { ResponseTarget, type Outgoing, type Sent } from './response-target.ts'
import { sentBySystem, type LateSendfile } from './sendfile.ts'

/** Bytes that are handed to the socket in one go: what is not flushed when the server closes, Node cuts. */
const atOnce: number = 64 * 1024

/** What is encrypted stands in memory until its client has taken it: bytes of all clients together, and of one at least. */
const inMemory = { all: 64_000_000, least: 16 * 1024 }

/** Answers that are few get large pieces each. */
const few = { answers: 8, bytes: 256 * 1024 }

/** Bytes of a piece of each where they are more: for these Node makes room for three records of TLS, and keeps it. */
const ofMany = 49_000

/** The answers of one listener that are on their way encrypted. */
export class EncryptedAnswers {
  #running = 0

  begin(): void {
    this.#running += 1
  }

  end(): void {
    this.#running -= 1
  }

  /** Bytes that one of them may hand to its connection in one go. */
  get share(): number {
    if (this.#running <= few.answers) return few.bytes
    return Math.max(inMemory.least, Math.min(ofMany, Math.floor(inMemory.all / this.#running)))
  }
}

const nothing = new Uint8Array(0)

/** The body of a reply that is here and can be handed over in one go, empty where it has none; `undefined` of any other. */
export function bytesAtOnce({ body = nothing }: Reply): Uint8Array | undefined {
  const bytes = body instanceof WholeStream ? body.bytes : body
  return bytes instanceof Uint8Array && bytes.byteLength <= atOnce ? bytes : undefined
}

/** Hands a reply over with the body that `bytesAtOnce` has found; nothing is waited for. */
export function sendAtOnce(response: ServerResponse, { status, headers }: Reply, body: Uint8Array, sent: Sent): void {
  // These two have no content, and so no length of one (RFC 9110 §8.6).
  const hasLength = headers['content-length'] !== undefined || status === 204 || status === 304
  response.writeHead(status, hasLength ? headers : { 'content-length': body.byteLength, ...headers })
  response.end(body.byteLength === 0 ? undefined : body)
  if (response.req.method !== 'HEAD') sent.bytes = body.byteLength
}

/** How a listener's bodies leave: encrypted, or sent by the system where that can, or neither. */
export interface SendOptions {
  readonly encrypted?: EncryptedAnswers | undefined
  /** Not where they are encrypted. */
  readonly sendfile?: LateSendfile | undefined
  /** Waited for once all of the answer is on its way. To Node it ends only then: who has his last one is cut by it at once. */
  readonly beforeEnd?: (() => Promise<void>) | undefined
}

/**
 * Resolves when the client's side has taken all of the body, which is counted in `sent`.
 * @throws ClientGoneError where the client left; otherwise what the body's stream failed with. The socket is destroyed.
 */
export async function sendReply(
  response: ServerResponse,
  reply: Reply,
  sent: Sent,
  options: SendOptions,
): Promise<void> {
  const { beforeEnd } = options
  const whole = bytesAtOnce(reply)
  if (whole !== undefined && beforeEnd === undefined) {
    sendAtOnce(response, reply, whole, sent)
    return
  }
  const { status, headers } = reply
  const body = reply.body instanceof WholeStream ? reply.body.bytes : (reply.body ?? nothing)
  await using stream: ByteStream = body instanceof Uint8Array ? new WholeStream(body) : body
  if (response.destroyed) throw new ClientGoneError()
  response.writeHead(status, body instanceof Uint8Array ? { 'content-length': body.byteLength, ...headers } : headers)
  response.flushHeaders() // the client sees them before the first byte is here
  if (response.req.method === 'HEAD') {
    await beforeEnd?.()
    response.end()
    return
  }
  try {
    const promised = headers['content-length']
    const length = promised === undefined ? undefined : Number(promised)
    await sendBody(stream, { answer: response, length }, sent, options)
    await beforeEnd?.()
    response.end()
  } catch (error) {
    response.destroy()
    throw error
  }
}

/** An answer whose head has been written. */
export interface Headed {
  readonly answer: Outgoing
  /** Bytes of its body, where they were promised. */
  readonly length: number | undefined
}

/**
 * Resolves when the client's side has taken all of the body, which is counted in `sent`. The stream stays the caller's.
 * @throws ClientGoneError where the client left; otherwise what the stream failed with, and where it fell short
 */
export async function sendBody(
  stream: ByteStream,
  { answer, length }: Headed,
  sent: Sent,
  { encrypted, sendfile }: SendOptions,
): Promise<void> {
  const isLarge = length !== undefined && length >= sentBySystem
  const loaded = isLarge ? sendfile?.loaded : undefined
  const most = encrypted === undefined ? undefined : (): number => encrypted.share
  using target = new ResponseTarget(answer, sent, { sendfile: loaded, isPromised: length !== undefined, most })
  encrypted?.begin()
  try {
    if (loaded !== undefined && stream.transferTo !== undefined) await stream.transferTo(target)
    else for await (const chunk of stream) await target.write(chunk) // the next when this has left: its buffer is used again
  } finally {
    encrypted?.end()
  }
  if (length !== undefined && length !== sent.bytes) {
    throw new Error(`the body ended after ${sent.bytes} of ${length} bytes`)
  }
  if (isLarge) sendfile?.load() // now nobody waits for a first byte
}

// A registry client for tests: keeps nothing but what it must check.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { get, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'

export interface Pulled {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly size: number
  readonly digest: string
  /** Whether the answer ended as HTTP says a complete one ends. */
  readonly complete: boolean
}

/** Reads an answer to its end, however it ends, hashing its body. */
export async function pull(url: string, headers: Record<string, string> = {}): Promise<Pulled> {
  const response = await open(url, headers)
  const hash = createHash('sha256')
  let size = 0
  let complete = true
  try {
    for await (const chunk of response) {
      hash.update(chunk)
      size += chunk.length
    }
  } catch {
    complete = false // that is what the field says
  }
  const digest = `sha256:${hash.digest('hex')}`
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    size,
    digest,
    complete: complete && response.complete,
  }
}

/** Sends a request and resolves with its headers; the body is the caller's to read or destroy. */
export async function open(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const outgoing = get(url, { agent: false, headers })
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return response
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The error codes of an envelope; empty where the body is none. */
  readonly codes: readonly string[]
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: Record<string, string | readonly string[]>
  /** Sent with its length, or in chunks where `isChunked`. */
  readonly body?: Uint8Array | string
  readonly isChunked?: boolean
}

export async function ask(url: string, { method, headers, body, isChunked }: AskOptions = {}): Promise<Answer> {
  const length = body === undefined || isChunked === true ? {} : { 'content-length': Buffer.byteLength(body) }
  const outgoing = request(url, { agent: false, method: method ?? 'GET', headers: { ...length, ...headers } })
  if (body !== undefined && isChunked === true) outgoing.write(body)
  outgoing.end(isChunked === true ? undefined : body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  outgoing.on('error', () => {}) // of a body that nobody wants any more; an answer that breaks off fails below
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const got = Buffer.concat(chunks)
  return { status: response.statusCode ?? 0, headers: response.headers, body: got, codes: codesOf(response, got) }
}

function codesOf(response: IncomingMessage, body: Buffer): string[] {
  if (response.headers['content-type'] !== 'application/json' || body.length === 0) return []
  const document = JSON.parse(body.toString()) as { errors?: { code: string }[] }
  return (document.errors ?? []).map(({ code }) => code)
}

/** The next `size` bytes of an answer, which does not end before. */
export async function readExactly(response: IncomingMessage, size: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let left = size
  while (left > 0) {
    const chunk = (response.read(Math.min(left, Math.max(1, response.readableLength))) ?? undefined) as
      | Buffer
      | undefined
    if (chunk === undefined) await once(response, 'readable')
    else {
      chunks.push(chunk)
      left -= chunk.length
    }
  }
  return Buffer.concat(chunks)
}

/** The digests that two clients get, of whom one takes nothing before the other is on its way. */
export async function pullSlowAndFast(url: string): Promise<readonly [string, string]> {
  const slow = await open(url)
  const fast = pull(url)
  const hash = createHash('sha256')
  for await (const chunk of slow) hash.update(chunk as Buffer)
  return [`sha256:${hash.digest('hex')}`, (await fast).digest]
}

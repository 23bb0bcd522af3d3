// An upstream's answer: its headers, and the one body, which is collected, streamed, discarded or abandoned.
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { collect, type ByteStream } from '../bytes/stream.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import { failConnection } from './connection-error.ts'
import { Pace } from './pace.ts'

/** A body of ours or undici's, which can read itself away. */
type Body = Readable & { dump(options?: { limit: number; signal?: AbortSignal }): Promise<void> }

export interface AnswerParts {
  readonly url: URL
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Body
  readonly signal: AbortSignal | undefined
  /** How long a body that is collected may take, in milliseconds. */
  readonly patience: number
  /** Where the body's bytes are counted. */
  readonly received: { bytes: number }
}

/** An unwanted body is read to its end where it is no larger, so that the connection can be used again. */
const maxDiscarded = 64 * 1024
const discardPatience = 1000

export class Answer {
  /** Where the answer came from, after redirects. */
  readonly url: URL
  readonly status: number
  readonly #headers: IncomingHttpHeaders
  readonly #body: Body
  readonly #signal: AbortSignal | undefined
  readonly #patience: number
  readonly #received: { bytes: number }

  constructor(parts: AnswerParts) {
    this.url = parts.url
    this.status = parts.status
    this.#headers = parts.headers
    this.#body = parts.body
    this.#signal = parts.signal
    this.#patience = parts.patience
    this.#received = parts.received
    this.#body.on('error', () => {}) // who reads the body sees it; nobody need read it
  }

  get host(): string {
    return this.url.host
  }

  /** Calls back when the body has given its connection back. */
  onClosed(callback: () => void): void {
    if (this.#body.closed) callback()
    else this.#body.once('close', callback)
  }

  /** A header that is meant to come once; `undefined` where it is missing, and where its lines contradict each other. */
  header(name: string): string | undefined {
    const [first, ...rest] = this.headerLines(name)
    return rest.every((line) => line === first) ? first : undefined
  }

  headerLines(name: string): readonly string[] {
    const value = this.#headers[name]
    if (value === undefined) return []
    return typeof value === 'string' ? [value] : value
  }

  /** @throws UpstreamError `invalid` where the bytes were changed on their way: nobody asked for that */
  requireIdentity(): void {
    const encoding = this.header('content-encoding')?.trim().toLowerCase()
    if (this.headerLines('content-encoding').length > 0 && encoding !== '' && encoding !== 'identity') {
      throw this.#abandonWith(`${this.host} sent an encoded body, which was not asked for`)
    }
  }

  /** @throws UpstreamError `invalid` where only the connection's end would end the body: it could be cut unnoticed */
  requireFraming(): void {
    if (this.header('content-length') === undefined && this.header('transfer-encoding') === undefined) {
      throw this.#abandonWith(`${this.host} sent a body without saying where it ends`)
    }
  }

  /** @throws UpstreamError `invalid` where the body is larger than `limit`, `timeout` where it takes too long */
  async collect(limit: number): Promise<Buffer> {
    const timer = setTimeout(() => {
      this.#body.destroy(new UpstreamError('timeout', this.host, `${this.host} sends its answer too slowly`))
    }, this.#patience)
    try {
      if (Number(this.header('content-length') ?? 0) > limit) {
        throw this.#abandonWith(`${this.host} sent more than ${limit} bytes`)
      }
      const bytes = await collect(this.#body, limit)
      this.#received.bytes += bytes.byteLength
      return bytes
    } catch (error) {
      return failConnection(error, this.host, this.#signal)
    } finally {
      clearTimeout(timer)
    }
  }

  /** The body as it comes. Fails where it is cut off, where it drips, and where it is not `expected` bytes long. */
  stream(expected: number | undefined): ByteStream {
    const chunks = countedChunks(this.#body, expected, this.host, this.#signal, this.#received)
    return {
      [Symbol.asyncIterator]: (): AsyncIterator<Uint8Array> => chunks,
      [Symbol.asyncDispose]: async (): Promise<void> => await this.abandon(),
    }
  }

  /** Has done with the body; a short one is read to its end, so that the connection lives on. Does not throw. */
  async discard(): Promise<void> {
    try {
      await this.#body.dump({ limit: maxDiscarded, signal: AbortSignal.timeout(discardPatience) })
    } catch {
      // it was cut off, which is as well
    }
  }

  /** Has done with the body, and with the connection where the body is not here whole. Does not throw. */
  async abandon(): Promise<void> {
    const body = this.#body
    if (body.closed) return
    const closed = new Promise<void>((resolve) => body.once('close', resolve))
    body.destroy()
    await closed
  }

  #abandonWith(message: string): UpstreamError {
    this.#body.destroy()
    return new UpstreamError('invalid', this.host, message, { status: this.status })
  }
}

/** One generator, not several around each other: it runs for every chunk of every blob. */
async function* countedChunks(
  body: Readable,
  expected: number | undefined,
  host: string,
  signal: AbortSignal | undefined,
  received: { bytes: number },
): AsyncGenerator<Uint8Array, void> {
  let size = 0
  const pace = new Pace()
  try {
    for await (const chunk of body) {
      if (!(chunk instanceof Uint8Array)) continue
      size += chunk.byteLength
      received.bytes += chunk.byteLength
      if (expected !== undefined && size > expected) {
        throw new UpstreamError('invalid', host, `${host} sent more bytes than it announced`)
      }
      if (pace.isTooSlow(chunk.byteLength)) throw new UpstreamError('timeout', host, `${host} sends too slowly`)
      yield chunk
      pace.wait()
    }
  } catch (error) {
    failConnection(error, host, signal)
  }
  if (expected !== undefined && size < expected) {
    throw new UpstreamError('unavailable', host, `${host} sent fewer bytes than it announced`)
  }
}

// A request and its reply as plain data: what a handler sees, without Node's objects.
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import type { ByteStream } from '../bytes/stream.ts'

export interface Request {
  readonly method: string
  /** The path exactly as it was sent: not decoded, not normalised, without the query. */
  readonly path: string
  readonly query: URLSearchParams
  /** Path and query exactly as they were sent. */
  readonly target: string
  /** The client's, as far as we know: what a trusted proxy says, else who has connected. Empty at a unix socket. */
  readonly address: string
  /** How the client speaks to us, or to the trusted proxy in front. */
  readonly scheme: 'http' | 'https'
  /** The host, and port, that the client asked for: its own word, for its own answer alone. */
  readonly host: string | undefined

  readonly headers: IncomingHttpHeaders
  /** The other end of the connection: `address:port`; empty where it has none. */
  readonly peer: string

  readonly body: AsyncIterable<Uint8Array>
  /** Fires when the client has gone or the server stops waiting. */
  readonly signal: AbortSignal
  /** Fields for the request's log line. Handlers add; the listener writes. */
  readonly log: Record<string, unknown>
}

export interface Reply {
  readonly status: number
  readonly headers: OutgoingHttpHeaders
  /**
   * A stream is sent as it comes, with the Content-Length that `headers` promises. One that fails or falls short ends in
   * a destroyed socket, never in a complete answer. It is not sent, and is released, where the method is HEAD.
   */
  readonly body?: Uint8Array | ByteStream | undefined
  /**
   * Whether the same request, whoever sends it, would be answered with these very bytes at this time: then nobody need be
   * asked again. Without it, never. Only of a 200 to a GET, with all its bytes here, or a stream that can be had `again`.
   */
  readonly holds?: (() => boolean) | undefined
}

/** Turns every request into a reply. One that throws is answered 500 with an empty body. */
export type Handler = (request: Request) => Reply | Promise<Reply>

/** Why a request's signal fired. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'

  constructor() {
    super('the client went away')
  }
}

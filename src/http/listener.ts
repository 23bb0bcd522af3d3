// Listens, hands requests to one handler, writes one log line for each at its end, and closes without cutting answers.
import { chmod } from 'node:fs/promises'
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../telemetry/logger.ts'
import type { ClientLimits } from './client-limits.ts'
import { limitConnections } from './connection-limit.ts'
import { ClientGoneError, type Handler, type Reply, type Request } from './exchange.ts'
import { plainAddress, type Sender, type TrustedProxies } from './forwarded.ts'
import { hasOneHost } from './host-header.ts'
import { pacedBody } from './paced-body.ts'
import { EncryptedAnswers, sendReply, type Sent } from './send.ts'
import type { TlsFiles } from './tls-files.ts'
import { removeDeadSocket } from './unix-socket.ts'

export interface ListenerOptions {
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  /** Instead of host and port: where a unix socket is made, for our own user and group. */
  readonly socket?: string | undefined
  readonly logger: Logger
  /** Milliseconds a socket may make no progress, in either direction, before it is cut. */
  readonly idleTimeout?: number | undefined
  /** Milliseconds the headers of a request may take, from the first byte or the connection on; looked at as often. */
  readonly headersTimeout?: number | undefined
  /** Milliseconds a connection may wait for its next request. */
  readonly keepAliveTimeout?: number | undefined
  /** Connections at once; 0: as many as the system gives us. */
  readonly connections?: number | undefined
  /** What one client may ask for, and what it hears beyond that, with the seconds after which it may come again. */
  readonly perClient?: { readonly limits: ClientLimits; readonly refuse: (retryAfter: number) => Reply } | undefined
  /** Proxies in front whose word on the client counts; none without. */
  readonly trustedProxies?: TrustedProxies | undefined
  /** Plain HTTP without. It stays the caller's to dispose. */
  readonly tls?: TlsFiles | undefined
  readonly observer?: ExchangeObserver | undefined
}

/** Is told of every request; must neither fail nor take long. */
export interface ExchangeObserver {
  /** Before the handler. */
  begin(request: Request): void
  /** When the answer has left, or was broken off. */
  end(request: Request, outcome: ExchangeOutcome): void
}

export interface ExchangeOutcome {
  /** 499, as nginx has it, where the client left before there was an answer. */
  readonly status: number
  /** Of the body that was sent, also where it was broken off. */
  readonly bytes: number
  /** Of a body that the client announced, and has sent whole. */
  readonly received: number
  readonly ms: number
  /** Not all of the answer was sent: why. */
  readonly failure: unknown
}

export interface Listener extends AsyncDisposable {
  /** 0 where it is a unix socket. */
  readonly port: number
  /** `http://host:port`, https, or `unix:///path`, for people and tests. */
  readonly url: string
  /**
   * Accepts nothing new, lets running answers end for at most `drainTimeout` milliseconds, then cuts the rest. Resolves
   * with the number of requests that were cut.
   */
  close(drainTimeout: number): Promise<number>
}

/** @throws Node's listen error (EADDRINUSE, EACCES …) */
export async function listen(handler: Handler, options: ListenerOptions): Promise<Listener> {
  // A body may take as long as it likes while it moves (paced-body.ts); with no limit on it, Node wants one on headers said.
  const { headersTimeout = 60_000, keepAliveTimeout = 75_000, connections = 0, tls, logger } = options
  const server = await openServer(tls, {
    requestTimeout: 0,
    headersTimeout,
    connectionsCheckingInterval: Math.min(30_000, headersTimeout),
    keepAliveTimeout,
    highWaterMark: 256 * 1024,
    requireHostHeader: false, // Node would refuse it past the log, and go on to what is behind it without an answer
  })
  server.timeout = options.idleTimeout ?? 120_000
  if (connections > 0) limitConnections(server, connections, logger)
  if (options.socket !== undefined) await removeDeadSocket(options.socket)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (options.socket === undefined) server.listen(options.port, options.host, resolve)
    else server.listen(options.socket, resolve)
  })
  if (options.socket !== undefined) await chmod(options.socket, 0o660)
  server.on('error', (error) => logger.error({ error }, 'listener failed'))
  const running = new RunningListener(server, handler, options)
  // Node answers what expects anything but 100-continue by itself, past the handler, the log and the drain.
  for (const event of ['request', 'checkExpectation'] as const) {
    server.on(event, (request: IncomingMessage, response: ServerResponse) => running.answer(request, response))
  }
  return running
}

async function openServer(tls: TlsFiles | undefined, options: ServerOptions): Promise<Server | SecureServer> {
  // To import node:http is to ask it for all that it has, and for that Node loads its own undici: an eighth of a start.
  if (tls === undefined) return process.getBuiltinModule('node:http').createServer(options)
  const https = await import('node:https')
  const server = https.createServer({ ...options, ...tls.serverOptions(), handshakeTimeout: options.headersTimeout })
  tls.attach(server)
  return server
}

class RunningListener implements Listener {
  readonly port: number
  readonly url: string
  readonly #server: Server | SecureServer
  readonly #place: Place
  readonly #perClient: ListenerOptions['perClient']
  readonly #handler: Handler
  readonly #logger: Logger
  readonly #observer: ExchangeObserver | undefined
  readonly #encrypted = new EncryptedAnswers()
  readonly #running = new Set<ServerResponse>()
  readonly #exchanges = new Set<Promise<void>>()
  #draining = false

  constructor(server: Server | SecureServer, handler: Handler, options: ListenerOptions) {
    const scheme = options.tls === undefined ? 'http' : 'https'
    this.#server = server
    this.#place = { scheme, patience: server.timeout, trustedProxies: options.trustedProxies }
    this.#perClient = options.perClient
    this.#handler = handler
    this.#logger = options.logger
    const place = server.address()
    this.port = place === null || typeof place === 'string' ? 0 : place.port
    this.url = urlOf(scheme, place)
    this.#observer = options.observer
  }

  answer(incoming: IncomingMessage, response: ServerResponse): void {
    this.#running.add(response)
    response.once('close', () => {
      this.#running.delete(response)
      if (this.#draining) this.#server.closeIdleConnections()
    })
    const exchange = this.#exchange(incoming, response).finally(() => this.#exchanges.delete(exchange))
    this.#exchanges.add(exchange)
  }

  async #exchange(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = performance.now()
    const request = new IncomingRequest(incoming, response, this.#place)
    let status = 500
    const sent: Sent = { bytes: 0 }
    let failure: unknown
    this.#observer?.begin(request)
    const perClient = this.#perClient
    const retryAfter = perClient?.limits.enter(request.address)

    try {
      const reply =
        perClient === undefined || retryAfter === undefined
          ? await this.#reply(incoming, request, response)
          : perClient.refuse(retryAfter)
      status = reply.status
      const isRead = reply.status < 400 || (await discardBody(incoming))
      if (this.#draining || !isRead) response.setHeader('connection', 'close')
      await sendReply(response, reply, sent, this.#encrypted)
    } catch (error) {
      failure = error
      if (error instanceof ClientGoneError && !response.headersSent) status = 499
      response.destroy()
    } finally {
      if (retryAfter === undefined) perClient?.limits.leave(request.address)
    }
    const ms = Math.round((performance.now() - startedAt) * 10) / 10
    const received = incoming.complete ? Number(request.headers['content-length'] ?? 0) : 0
    this.#observer?.end(request, { status, ...sent, received, ms, failure })
    this.#log(request, { status, ...sent, ms }, failure)
  }

  async #reply(incoming: IncomingMessage, request: Request, response: ServerResponse): Promise<Reply> {
    if (!hasOneHost(incoming)) return { status: 400, headers: {} }
    try {
      return await this.#handler(request)
    } catch (error) {
      if (response.destroyed) throw new ClientGoneError()
      this.#logger.error({ error }, 'handler failed')
      return { status: 500, headers: {} }
    }
  }

  #log(request: Request, outcome: { status: number; bytes: number; ms: number }, failure: unknown): void {
    const fields = { method: request.method, client: request.address, ...request.log, ...outcome }
    if (failure instanceof ClientGoneError) this.#logger.info({ ...fields, aborted: true }, 'request aborted')
    else if (failure !== undefined) this.#logger.warn({ ...fields, error: failure }, 'answer broken off')
    else if (outcome.status === 500) this.#logger.error(fields, 'request failed')
    else if (outcome.status > 500) this.#logger.warn(fields, 'request failed')
    else this.#logger.info(fields, 'request')
  }

  async close(drainTimeout: number): Promise<number> {
    this.#draining = true
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    this.#server.closeIdleConnections()
    let cut = 0
    const deadline = setTimeout(() => {
      cut = this.#running.size
      this.#server.closeAllConnections()
    }, drainTimeout)
    await closed
    clearTimeout(deadline)
    // Their sockets are gone, what they hold follows; one that does not heed its signal holds nobody up.
    const patience = new AbortController()
    const late = delay(1000, undefined, { signal: patience.signal }).catch(() => {}) // called off, as it should be
    await Promise.race([Promise.all(this.#exchanges), late])
    patience.abort()
    return cut
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0)
  }
}

/** What is still read of a refused request's body: a client that is cut while it sends never sees why. */
const discarded = { bytes: 16 * 1024 * 1024, ms: 5000 }

/** Whether the body is read to its end now. */
async function discardBody(incoming: IncomingMessage): Promise<boolean> {
  if (incoming.readableEnded || incoming.complete) return true
  let left = discarded.bytes
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const deadline = setTimeout(resolve, discarded.ms, false)
  const onData = (chunk: Uint8Array): void => {
    left -= chunk.byteLength
    if (left <= 0) resolve(false)
  }
  incoming
    .on('data', onData)
    .once('end', () => resolve(true))
    .once('close', () => resolve(true))
  try {
    return await promise
  } finally {
    clearTimeout(deadline)
    incoming.off('data', onData).pause()
  }
}

/** What is the same for all requests of a listener. */
interface Place {
  readonly scheme: 'http' | 'https'
  /** Milliseconds. */
  readonly patience: number
  readonly trustedProxies: TrustedProxies | undefined
}

/** What a client sends that takes us for its proxy, or is one (RFC 9112 §3.2.2). */
const absoluteForm = /^https?:\/\/([^/?#]+)/i

class IncomingRequest implements Request {
  readonly method: string
  readonly target: string
  readonly path: string
  readonly log: Record<string, unknown> = {}
  readonly #incoming: IncomingMessage
  readonly #response: ServerResponse
  readonly #search: string
  readonly #place: Place
  readonly #targetHost: string | undefined
  /** Read at once: a socket that is closed does not know it any more. */
  readonly #peer: string
  #sender: Sender | undefined
  #signal: AbortSignal | undefined

  constructor(incoming: IncomingMessage, response: ServerResponse, place: Place) {
    let target = incoming.url ?? '/'
    if (!target.startsWith('/')) {
      const [whole, host] = absoluteForm.exec(target) ?? []
      this.#targetHost = host
      if (whole !== undefined) target = target.slice(whole.length).replace(/^(?!\/)/, '/')
    }
    const mark = target.indexOf('?')
    this.method = incoming.method ?? 'GET'
    this.target = target
    this.path = mark < 0 ? target : target.slice(0, mark)
    this.#search = mark < 0 ? '' : target.slice(mark + 1)
    this.#incoming = incoming
    this.#response = response
    this.#place = place
    this.#peer = plainAddress(incoming.socket.remoteAddress ?? '')
  }

  get address(): string {
    return this.#forwarded?.address ?? this.#peer
  }

  get scheme(): 'http' | 'https' {
    return this.#forwarded?.scheme ?? this.#place.scheme
  }

  get host(): string | undefined {
    return this.#forwarded?.host ?? this.#targetHost ?? this.#incoming.headers.host
  }

  get #forwarded(): Sender | undefined {
    this.#sender ??= this.#place.trustedProxies?.senderOf(this.#peer, this.#incoming.headers)
    return this.#sender
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#search)
  }

  get headers(): Request['headers'] {
    return this.#incoming.headers
  }

  get peer(): string {
    const { remotePort } = this.#incoming.socket
    if (this.#peer === '' || remotePort === undefined) return ''
    return `${this.#peer.includes(':') ? `[${this.#peer}]` : this.#peer}:${remotePort}`
  }

  /** Whoever stops reading it early leaves the connection as it is: the answer goes out by it. */
  get body(): AsyncIterable<Uint8Array> {
    const chunks = this.#incoming.iterator({ destroyOnReturn: false })
    return pacedBody(chunks, { period: this.#place.patience, cut: async () => await this.#cut() })
  }

  /** As a client that leaves, which is what the handler hears of it. */
  async #cut(): Promise<never> {
    await new Promise((resolve) => this.#response.once('close', resolve).destroy())
    throw new ClientGoneError()
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController()
      if (this.#response.destroyed) controller.abort(new ClientGoneError())
      else {
        this.#response.once('close', () => {
          if (!this.#response.writableFinished) controller.abort(new ClientGoneError())
        })
      }
      this.#signal = controller.signal
    }
    return this.#signal
  }
}

function urlOf(scheme: string, place: AddressInfo | string | null): string {
  if (place === null || typeof place === 'string') return `unix://${place}`
  const { address, family, port } = place
  const host = address === '::' || address === '0.0.0.0' ? 'localhost' : family === 'IPv6' ? `[${address}]` : address
  return `${scheme}://${host}:${port}`
}

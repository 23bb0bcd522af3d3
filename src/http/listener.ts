// Listens, hands requests to one handler, writes one log line for each at its end, and closes without cutting answers.
import { chmodSync } from 'node:fs'
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import { Server as NetServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../telemetry/logger.ts'
import type { ClientLimits } from './client-limits.ts'
import { limitConnections } from './connection-limit.ts'
import { Connections } from './connections.ts'
import { canDiscard, discardBody } from './discard.ts'
import { ClientGoneError, type Handler, type Reply, type Request } from './exchange.ts'
import { InTurn } from './in-turn.ts'
import { IncomingRequest, type Place } from './incoming-request.ts'
import type { TrustedProxies } from './forwarded.ts'
import { hasOneHost } from './host-header.ts'
import type { Exchange } from './repeated-connection.ts'
import { Repeats } from './repeats.ts'
import { logRequest, since } from './request-log.ts'
import type { Sent } from './response-target.ts'
import { bytesAtOnce, EncryptedAnswers, sendAtOnce, sendReply, type SendOptions } from './send.ts'
import type { LateSendfile } from './sendfile.ts'
import type { TlsFiles } from './tls-files.ts'
import { removeDeadSocket } from './unix-socket.ts'
import { answerUnparsed, type RefuseUnparsed } from './unparsed.ts'

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
  readonly perClient?:
    | { readonly limits: ClientLimits; readonly refuse: (request: Request, retryAfter: number) => Reply }
    | undefined
  /** What is said of what cannot be understood; its status alone without. */
  readonly refuseUnparsed?: RefuseUnparsed | undefined
  /** Proxies in front whose word on the client counts; none without. */
  readonly trustedProxies?: TrustedProxies | undefined
  /** Plain HTTP without. It stays the caller's to dispose. */
  readonly tls?: TlsFiles | undefined
  readonly observer?: ExchangeObserver | undefined
  /** What the system can be asked with to send files; without, they are read and written. */
  readonly sendfile?: LateSendfile | undefined
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

/** Bytes of a request's head: proxies in front that know who somebody is add cookies and tokens of 16 KiB and more. */
const maxHeaderSize = 64 * 1024

/** @throws Node's listen error (EADDRINUSE, EACCES …) */
export async function listen(handler: Handler, options: ListenerOptions): Promise<Listener> {
  // A body may take as long as it likes while it moves (paced-body.ts); with no limit on it, Node wants one on headers said.
  const { headersTimeout = 60_000, keepAliveTimeout = 75_000, tls, logger } = options
  const server = await openServer(tls, {
    requestTimeout: 0,
    headersTimeout,
    connectionsCheckingInterval: Math.min(30_000, headersTimeout),
    keepAliveTimeout,
    highWaterMark: 256 * 1024,
    maxHeaderSize,
    requireHostHeader: false, // Node would refuse it past the log, and go on to what is behind it without an answer
  })
  server.timeout = options.idleTimeout ?? 120_000
  if (options.socket !== undefined) await removeDeadSocket(options.socket)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (options.socket === undefined) server.listen(options.port, options.host, resolve)
    else server.listen(options.socket, resolve)
  })
  // Without a wait: who connected meanwhile would find nobody who answers.
  if (options.socket !== undefined) chmodSync(options.socket, 0o660)
  server.on('error', (error) => logger.error({ error }, 'listener failed'))
  const running = new RunningListener(server, handler, options)
  // Node answers what expects anything by itself: 100-continue before it is known whether there is to be a body, and all else
  // past the handler, the log and the drain.
  for (const event of ['request', 'checkContinue', 'checkExpectation'] as const) {
    server.on(event, (request: IncomingMessage, response: ServerResponse) => {
      running.answer(request, response, event === 'checkContinue')
    })
  }
  return running
}

async function openServer(tls: TlsFiles | undefined, options: ServerOptions): Promise<Server | SecureServer> {
  // To import node:http is to ask it for all that it has, and for that Node loads its own undici: an eighth of a start.
  if (tls === undefined) return process.getBuiltinModule('node:http').createServer(options)
  const https = await import('node:https')
  const server = https.createServer({ ...options, ...tls.serverOptions(), handshakeTimeout: options.headersTimeout })
  tls.attach(server)
  server.on('secureConnection', readAsStream)
  return server
}

/**
 * Node's parser takes what comes past the stream, unless somebody listens to that. Where Node pauses it, for all that is to be
 * sent before, what has been decrypted already still comes, and fails as if it were no request.
 */
function readAsStream(socket: Socket): void {
  const listener = (): void => {}
  socket.on('data', listener).off('data', listener)
}

/** Where what a request says of its client is asked for, or somebody is to hear of it, each is looked at. */
function canRepeat({ perClient, trustedProxies, observer }: ListenerOptions): boolean {
  return perClient === undefined && trustedProxies === undefined && observer === undefined
}

/** A request, and how far its answer has come. */
interface Running extends Exchange {
  readonly request: IncomingRequest
  /** Of `performance.now()`. */
  readonly startedAt: number
  /** Seconds after which a client may come again that asks for too much. */
  readonly refusedFor: number | undefined
  readonly sent: Sent
}

/** Times that a connection may be idle because of us: a large file is read for long, and a disk that hangs holds nobody for ever. */
const mostWaits = 30

class RunningListener implements Listener {
  readonly port: number
  readonly url: string
  readonly #server: Server | SecureServer
  readonly #place: Place
  readonly #perClient: ListenerOptions['perClient']
  readonly #refuse: RefuseUnparsed
  readonly #handler: Handler
  readonly #logger: Logger
  readonly #observer: ExchangeObserver | undefined
  readonly #sending: SendOptions
  readonly #repeats: Repeats | undefined
  readonly #connections: Connections
  readonly #inTurn = new InTurn()
  readonly #running = new Set<ServerResponse>()
  readonly #exchanges = new Set<Promise<void>>()
  /** Of connections whose client waits for us: in a row, and the bytes that had moved. */
  readonly #waits = new WeakMap<Socket, { readonly count: number; readonly moved: number }>()
  #draining = false

  constructor(server: Server | SecureServer, handler: Handler, options: ListenerOptions) {
    const scheme = options.tls === undefined ? 'http' : 'https'
    this.#server = server
    this.#place = { scheme, patience: server.timeout, trustedProxies: options.trustedProxies }
    this.#perClient = options.perClient
    this.#refuse = options.refuseUnparsed ?? ((_, status) => ({ status, headers: {} }))
    this.#handler = handler
    this.#logger = options.logger
    const place = server.address()
    this.port = place === null || typeof place === 'string' ? 0 : place.port
    this.url = urlOf(scheme, place)
    this.#observer = options.observer
    this.#sending = options.tls === undefined ? { sendfile: options.sendfile } : { encrypted: new EncryptedAnswers() }
    this.#repeats = canRepeat(options)
      ? new Repeats({
          logger: options.logger,
          keepAliveTimeout: server.keepAliveTimeout,
          idleTimeout: server.timeout,
          sending: this.#sending,
          onSent: () => this.#connections.settled(),
        })
      : undefined
    server.on('timeout', (socket) => this.#onIdle(socket))
    answerUnparsed(server, { logger: this.#logger, refuse: this.#refuse, inTurn: this.#inTurn })
    this.#connections = new Connections(server, this.#repeats?.sending ?? new Set())
    if (options.connections !== undefined && options.connections > 0) {
      limitConnections(server, options.connections, options.logger, () => this.#connections.closeIdle())
    }
  }

  answer(incoming: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    this.#repeats?.began({ incoming, response }) // also where it has to wait: what comes behind its head is its body
    // Node closes the connection of who was not told; who has no body to hold back can be told at once.
    const awaitsContinue = expectsContinue && hasContent(incoming)
    if (expectsContinue && !awaitsContinue) response.writeContinue()
    this.#inTurn.enter(incoming, () => this.#start(incoming, response, awaitsContinue))
  }

  /** What is here whole is answered before the next request is looked at; nothing is made for it to wait in. */
  #start(incoming: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const exchange = this.#begin(incoming, response, awaitsContinue)
    const reply = this.#replyTo(exchange)
    const body = reply instanceof Promise || reply.status >= 400 ? undefined : bytesAtOnce(reply)
    if (reply instanceof Promise || body === undefined) this.#run(this.#answer(exchange, reply))
    else this.#answerAtOnce(exchange, reply, body)
    if (response.writableEnded && response.writableLength === 0) return // Node says that it is finished only later
    this.#running.add(response)
    this.#inTurn.hold(incoming.socket, response)
    response.once('close', () => {
      this.#running.delete(response)
      this.#connections.settled()
    })
  }

  /** Cuts a connection that has moved nothing for its time, unless its client has done all that it can. */
  #onIdle(socket: Socket): void {
    const moved = socket.bytesRead + socket.bytesWritten
    const before = this.#waits.get(socket)
    const count = before?.moved === moved ? before.count + 1 : 1
    if (count > mostWaits || !this.#isOurTurn(socket)) {
      socket.destroy()
      return
    }
    this.#waits.set(socket, { count, moved })
    socket.setTimeout(this.#server.timeout) // it fires once
  }

  /** Whether the client has sent its request, and has taken all that there is of its answer. */
  #isOurTurn(socket: Socket): boolean {
    if (socket.writableLength > 0) return false
    for (const response of this.#running) {
      if (response.socket === socket) return response.req.complete && response.writableLength === 0
    }
    return false
  }

  #begin(incoming: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): Running {
    const startedAt = performance.now()
    const request = new IncomingRequest(incoming, response, this.#place, awaitsContinue)
    this.#observer?.begin(request)
    const refusedFor = this.#perClient?.limits.enter(request.address)
    return { incoming, response, request, startedAt, refusedFor, sent: { bytes: 0 } }
  }

  #replyTo({ incoming, response, request, refusedFor }: Running): Reply | Promise<Reply> {
    if (this.#perClient !== undefined && refusedFor !== undefined) return this.#perClient.refuse(request, refusedFor)
    if (!hasOneHost(incoming)) return this.#refuse(request, 400)
    try {
      const reply = this.#handler(request)
      return reply instanceof Promise
        ? reply.catch(async (error: unknown) => await this.#failed(error, response))
        : reply
    } catch (error) {
      return this.#failed(error, response)
    }
  }

  async #failed(error: unknown, response: ServerResponse): Promise<Reply> {
    if (response.destroyed) throw new ClientGoneError()
    this.#logger.error({ error }, 'handler failed')
    return { status: 500, headers: {} }
  }

  #answerAtOnce(exchange: Running, reply: Reply, body: Uint8Array): void {
    const { response, request, sent } = exchange
    let failure: unknown
    try {
      if (this.#draining) response.setHeader('connection', 'close')
      sendAtOnce(response, reply, body, sent)
      this.#repeats?.remember(exchange, request, reply, body)
    } catch (error) {
      failure = error
      response.destroy()
    }
    this.#end(exchange, reply.status, failure)
  }

  #run(exchange: Promise<void>): void {
    const run = exchange.finally(() => this.#exchanges.delete(run))
    this.#exchanges.add(run)
  }

  async #answer(exchange: Running, answer: Reply | Promise<Reply>): Promise<void> {
    const { incoming, request, response, sent } = exchange
    let status = 500
    let failure: unknown
    try {
      const reply = await answer
      status = reply.status
      const isRead = reply.status < 400 || request.isHeldBack || incoming.complete
      if (this.#draining || (!isRead && !canDiscard(incoming))) response.setHeader('connection', 'close')
      const beforeEnd = isRead ? undefined : async (): Promise<void> => await discardBody(incoming)
      await sendReply(response, reply, sent, { ...this.#sending, beforeEnd })
      const { body } = reply
      const isRepeatable = body !== undefined && !(body instanceof Uint8Array) && body.again !== undefined
      if (isRepeatable) this.#repeats?.remember(exchange, request, reply, body)
    } catch (error) {
      failure = error
      if (error instanceof ClientGoneError && !response.headersSent) status = 499
      response.destroy()
    }
    this.#end(exchange, status, failure)
  }

  #end({ incoming, request, startedAt, refusedFor, sent }: Running, status: number, failure: unknown): void {
    if (refusedFor === undefined) this.#perClient?.limits.leave(request.address)
    const ms = since(startedAt)
    const received = incoming.complete ? Number(request.headers['content-length'] ?? 0) : 0
    this.#observer?.end(request, { status, ...sent, received, ms, failure })
    const fields = { method: request.method, ...request.log, status, ...sent, client: request.address, ms }
    logRequest(this.#logger, fields, status, failure)
  }

  async close(drainTimeout: number): Promise<number> {
    this.#draining = true
    this.#repeats?.stop() // each answer says now that it is the last
    const closed = new Promise<void>((resolve) => {
      NetServer.prototype.close.call(this.#server, () => resolve()) // that of http closes what is idle at once
    })
    this.#connections.closeGently()
    let cut = 0
    const deadline = setTimeout(() => {
      cut = this.#running.size + (this.#repeats?.sending.size ?? 0)
      this.#connections.cut()
    }, drainTimeout)
    await closed
    clearTimeout(deadline)
    this.#server.close() // which stops its timers
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

function hasContent({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function urlOf(scheme: string, place: AddressInfo | string | null): string {
  if (place === null || typeof place === 'string') return `unix://${place}`
  const { address, family, port } = place
  const host = address === '::' || address === '0.0.0.0' ? 'localhost' : family === 'IPv6' ? `[${address}]` : address
  return `${scheme}://${host}:${port}`
}

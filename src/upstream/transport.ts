// Single requests to an upstream and to wherever it sends us: HTTP/1.1 connections of this upstream alone, with limits on
// every wait. No redirects, no decompression, no retries but one: a connection that was idle too long is not an error.
import { waitFor } from '../async/wait.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { RequestTracer } from '../registry/request-tracer.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Answer } from './answer.ts'
import type { Bounds } from './bounds.ts'
import { failConnection, isStaleConnection } from './connection-error.ts'
import { Dispatchers, type DispatchersOptions } from './dispatchers.ts'
import { proxyFor, type HttpProxies } from './http-proxy.ts'
import { Tls, type TlsOptions } from './tls.ts'

export interface Timeouts {
  /** Until a connection stands, TLS included. All are in milliseconds. */
  readonly connect: number
  /** From there to the answer's headers. With `connect` it also bounds the whole, a wait for a free connection included. */
  readonly firstByte: number
  /** Between two pieces of a body. */
  readonly idle: number
}

export interface TransportOptions {
  readonly timeouts: Timeouts
  readonly userAgent: string
  readonly logger: Logger
  readonly bounds: Bounds
  readonly tls?: TlsOptions | undefined
  readonly tracer?: RequestTracer | undefined
  /** What requests go out through; without, by themselves. */
  readonly proxies?: HttpProxies | undefined
}

export interface OutgoingRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  /** The answer's body is a blob, which may take long: it has connections of its own. */
  readonly isLong?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Counts since the start. */
export interface Traffic {
  /** Answers by the first digit of their status; the first of all: no answer. */
  readonly answers: readonly number[]
  /** Bytes of bodies: of blobs, and of all else. */
  readonly blobBytes: number
  readonly otherBytes: number
}

/** All connections to the host are taken by bodies that are still being read: it says nothing of the host. */
export class CrowdedError extends UpstreamError {}

/** Per host and pool. Beyond it requests wait for each other. */
const maxConnections = 64
const keepAlive = 15_000

/** Two pools: a second try must not meet another connection that is stale, so the second never reuses one. */
interface Pools {
  readonly kept: Dispatchers
  readonly fresh: Dispatchers
  /** How many bodies of each origin still take a connection of `kept`. */
  readonly reading: Map<string, number>
}

export class Transport implements AsyncDisposable {
  readonly timeouts: Timeouts
  readonly #userAgent: string
  readonly #logger: Logger
  readonly #tracer: RequestTracer | undefined
  readonly #proxies: HttpProxies | undefined
  /**
   * A blob may take its connection for minutes, and slow ones may take all that there are: neither a tag nor a manifest
   * nor a token is to wait for that.
   */
  readonly #short: Pools
  readonly #long: Pools
  readonly #answers = [0, 0, 0, 0, 0, 0]
  readonly #received = { short: { bytes: 0 }, long: { bytes: 0 } }

  constructor({ timeouts, userAgent, logger, bounds, tls: tlsOptions, proxies, tracer }: TransportOptions) {
    this.timeouts = timeouts
    this.#userAgent = userAgent
    this.#logger = logger
    this.#tracer = tracer
    this.#proxies = proxies
    const tls = new Tls(tlsOptions ?? {}, (origin) => bounds.isNamed(origin))
    const options: DispatchersOptions['pool'] = {
      allowH2: false,
      connections: maxConnections,
      headersTimeout: timeouts.firstByte,
      bodyTimeout: timeouts.idle,
      keepAliveTimeout: keepAlive,
    }
    const common = { connect: timeouts.connect, tls, bounds, proxies }
    const agent = (pipelining: number): Dispatchers => new Dispatchers({ ...common, pool: { ...options, pipelining } })
    const open = (): Pools => ({ kept: agent(1), fresh: agent(0), reading: new Map() })
    this.#short = open()
    this.#long = open()
  }

  /**
   * Resolves with the headers, or fails within `connect` and `firstByte`, however long the queue for a connection is.
   * @throws UpstreamError; the signal's reason
   */
  async send(request: OutgoingRequest): Promise<Answer> {
    const { host } = request.url
    const late = new AbortController()
    // undici counts from when it has a connection to write to.
    const timer = setTimeout(
      () => late.abort(this.#isCrowded(request) ? crowded(host) : unanswered(host)),
      this.timeouts.connect + this.timeouts.firstByte,
    )
    try {
      const answer = await this.#traced(request, late.signal)
      this.#count(Math.floor(answer.status / 100))
      return answer
    } catch (error) {
      if (error instanceof UpstreamError) this.#count(0)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  traffic(): Traffic {
    const { short, long } = this.#received
    return { answers: this.#answers, blobBytes: long.bytes, otherBytes: short.bytes }
  }

  #count(kind: number): void {
    this.#answers[kind] = (this.#answers[kind] ?? 0) + 1
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const agents = [this.#short, this.#long].flatMap(({ kept, fresh }) => [kept, fresh])
    await Promise.all(agents.map(async (agent) => await agent.destroy()))
  }

  async #traced(request: OutgoingRequest, late: AbortSignal): Promise<Answer> {
    if (this.#tracer === undefined) return await this.#send(request, late)
    return await this.#tracer.follow(request, async (headers) => {
      return await this.#send({ ...request, headers: { ...request.headers, ...headers } }, late)
    })
  }

  #isCrowded(request: OutgoingRequest): boolean {
    return (this.#pools(request).reading.get(request.url.origin) ?? 0) >= maxConnections
  }

  #pools({ isLong }: OutgoingRequest): Pools {
    return isLong === true ? this.#long : this.#short
  }

  async #send(request: OutgoingRequest, late: AbortSignal): Promise<Answer> {
    const { url, signal } = request
    const { kept, fresh, reading } = this.#pools(request)
    try {
      const answer = await this.#dispatch(kept, request, late)
      countUntilClosed(answer, reading)
      return answer
    } catch (error) {
      if (request.method === 'POST' || !isStaleConnection(error)) {
        failConnection(error, url.host, signal, proxyFor(url, this.#proxies))
      }
      signal?.throwIfAborted()
    }
    this.#logger.debug({ host: url.host }, 'a connection was reset before it answered: asking once more')
    try {
      return await this.#dispatch(fresh, request, late, true)
    } catch (error) {
      return failConnection(error, url.host, signal, proxyFor(url, this.#proxies))
    }
  }

  async #dispatch(agent: Dispatchers, request: OutgoingRequest, late: AbortSignal, isLast = false): Promise<Answer> {
    const { method, url, headers, body, signal } = request
    const either = signal === undefined ? late : AbortSignal.any([signal, late])
    either.throwIfAborted()
    const dispatcher = await agent.to(url)
    const answered = dispatcher.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': this.#userAgent },
      body: body ?? null,
      signal: either,
      // undici would close the connection after each HEAD, for fear of a body that should not be there. It also looks
      // at an idle connection before it writes to it, which finds such a body.
      ...(method === 'HEAD' ? { reset: isLast } : {}),
    })
    const response = await waitFor(answered, either) // undici heeds a signal only when a connection is free
    const { statusCode: status, headers: received } = response
    const patience = this.timeouts.firstByte + 2 * this.timeouts.idle
    const counted = request.isLong === true ? this.#received.long : this.#received.short
    return new Answer({ url, status, headers: received, body: response.body, signal, patience, received: counted })
  }
}

function countUntilClosed(answer: Answer, reading: Map<string, number>): void {
  const { origin } = answer.url
  reading.set(origin, (reading.get(origin) ?? 0) + 1)
  answer.onClosed(() => {
    const left = (reading.get(origin) ?? 0) - 1
    if (left > 0) reading.set(origin, left)
    else reading.delete(origin)
  })
}

function unanswered(host: string): UpstreamError {
  return new UpstreamError('timeout', host, `${host} did not answer in time`)
}

function crowded(host: string): UpstreamError {
  return new CrowdedError('timeout', host, `too many answers of ${host} are still being read`)
}

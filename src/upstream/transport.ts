// Single requests to an upstream and to wherever it sends us: one pool of HTTP/1.1 connections, with limits on every
// wait. No redirects, no decompression, no retries but one: a connection that was idle too long is not an error.
import { Agent } from 'undici'
import { waitFor } from '../async/wait.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Answer } from './answer.ts'
import { failConnection, isStaleConnection } from './connection-error.ts'

export interface Timeouts {
  /** Until a connection stands, TLS included. All are in milliseconds. */
  readonly connect: number
  /** From there to the answer's headers. */
  readonly firstByte: number
  /** Between two pieces of a body. */
  readonly idle: number
}

export interface TransportOptions {
  readonly timeouts: Timeouts
  readonly userAgent: string
  readonly logger: Logger
}

export interface OutgoingRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Per host. Beyond it requests wait for each other. */
const maxConnections = 64
const keepAlive = 15_000

export class Transport implements AsyncDisposable {
  readonly timeouts: Timeouts
  readonly #userAgent: string
  readonly #logger: Logger
  readonly #agent: Agent
  /** Never reuses a connection: the second try must not meet another one that is stale. */
  readonly #fresh: Agent

  constructor({ timeouts, userAgent, logger }: TransportOptions) {
    this.timeouts = timeouts
    this.#userAgent = userAgent
    this.#logger = logger
    const options: Agent.Options = {
      allowH2: false,
      connections: maxConnections,
      connect: { timeout: timeouts.connect },
      headersTimeout: timeouts.firstByte,
      bodyTimeout: timeouts.idle,
      keepAliveTimeout: keepAlive,
    }
    this.#agent = new Agent({ ...options, pipelining: 1 })
    this.#fresh = new Agent({ ...options, pipelining: 0 })
  }

  /** @throws UpstreamError; the signal's reason */
  async send(request: OutgoingRequest): Promise<Answer> {
    const { url, signal } = request
    try {
      return await this.#dispatch(this.#agent, request)
    } catch (error) {
      if (request.method === 'POST' || !isStaleConnection(error)) failConnection(error, url.host, signal)
      signal?.throwIfAborted()
    }
    this.#logger.debug({ host: url.host }, 'a connection was reset before it answered: asking once more')
    try {
      return await this.#dispatch(this.#fresh, request)
    } catch (error) {
      return failConnection(error, url.host, signal)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#fresh.destroy()])
  }

  async #dispatch(agent: Agent, { method, url, headers, body, signal }: OutgoingRequest): Promise<Answer> {
    signal?.throwIfAborted()
    const answered = agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': this.#userAgent },
      body: body ?? null,
      signal: signal ?? null,
      // undici would close the connection after each HEAD, for fear of a body that should not be there. It also looks
      // at an idle connection before it writes to it, which finds such a body.
      ...(method === 'HEAD' ? { reset: agent === this.#fresh } : {}),
    })
    const response = await waitFor(answered, signal) // undici heeds a signal only when a connection is free
    const { statusCode: status, headers: received } = response
    const patience = this.timeouts.firstByte + 2 * this.timeouts.idle
    return new Answer({ url, status, headers: received, body: response.body, signal, patience })
  }
}

// How an authority is reached. The library would ask again and again by itself, for as long as an answer tells it to wait,
// and sets no limits; here each request is one request, with an end.
import { Agent, ProxyAgent, request, type Dispatcher } from 'undici'
import { collect } from '../bytes/stream.ts'

export interface TransportOptions {
  /** The proxy that a URL is reached through, and what it wants to hear of us. */
  readonly proxyFor: (url: URL) => { readonly url: URL; readonly token: string | undefined } | undefined
  readonly userAgent: string
}

export interface Outgoing {
  readonly url: string
  readonly method: string
  readonly headers: Record<string, string | string[]>
  readonly body: string | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
}

/** Nobody has answered, or not to the end. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
}

/** Milliseconds for one request. */
const patience = 30_000

/** Bytes of an answer: a certificate with its chain is a few thousand. */
const maxAnswer = 1024 * 1024

/** One order's connections. Disposed of, it breaks off what still runs. */
export class Transport implements AsyncDisposable {
  readonly #options: TransportOptions
  readonly #agents = new Map<string, Dispatcher>()

  constructor(options: TransportOptions) {
    this.#options = options
  }

  /** @throws UnreachableError */
  async send({ url, method, headers, body }: Outgoing, signal: AbortSignal): Promise<Answer> {
    const target = new URL(url)
    try {
      const answer = await request(target, {
        method,
        headers: { ...headers, 'User-Agent': this.#options.userAgent },
        body: body ?? null,
        dispatcher: this.#to(target),
        signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]),
      })
      const text = (await collect(answer.body, maxAnswer)).toString()
      return { status: answer.statusCode, headers: answer.headers, body: text }
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message || String('code' in cause && cause.code) : String(cause)
      throw new UnreachableError(`${target.host} cannot be reached: ${reason}`, { cause })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#agents.values()].map(async (agent) => await agent.destroy()))
  }

  #to(url: URL): Dispatcher {
    const proxy = this.#options.proxyFor(url)
    const key = proxy?.url.href ?? ''
    let agent = this.#agents.get(key)
    if (agent === undefined) {
      agent =
        proxy === undefined
          ? new Agent({ allowH2: false })
          : new ProxyAgent({ uri: proxy.url.origin, ...(proxy.token === undefined ? {} : { token: proxy.token }) })
      this.#agents.set(key, agent)
    }
    return agent
  }
}

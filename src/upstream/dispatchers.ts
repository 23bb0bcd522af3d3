// The connections of one upstream and of wherever it sends us: made by ourselves, or by a proxy where one is configured.
import { Agent, Pool, ProxyAgent, type Dispatcher } from 'undici'
import type { Bounds } from './bounds.ts'
import { proxyAuthorization, proxyFor, type HttpProxies } from './http-proxy.ts'
import type { Tls } from './tls.ts'

export interface DispatchersOptions {
  /** Of each origin's pool. */
  readonly pool: Pool.Options & { readonly headersTimeout: number }
  /** Milliseconds until a connection stands. */
  readonly connect: number
  readonly tls: Tls
  readonly bounds: Bounds
  readonly proxies?: HttpProxies | undefined
}

export class Dispatchers {
  readonly #options: DispatchersOptions
  readonly #direct: Agent
  /** By proxy and by whether they know who we are: connections of the two must never be taken for each other. */
  readonly #proxied = new Map<string, ProxyAgent>()

  constructor(options: DispatchersOptions) {
    const { pool, connect, tls, bounds } = options
    this.#options = options
    this.#direct = new Agent({
      factory(origin) {
        const secured = tls.connectionTo(new URL(origin).origin)
        return new Pool(origin, { ...pool, connect: { timeout: connect, lookup: bounds.lookup, ...secured } })
      },
    })
  }

  /** By a proxy it is not us who look names up: then `bounds` sees no more of them than the URL. */
  to(url: URL): Dispatcher {
    const proxy = proxyFor(url, this.#options.proxies)
    if (proxy === undefined) return this.#direct
    const isNamed = this.#options.bounds.isNamed(url.origin)
    const key = `${isNamed} ${proxy.href}`
    let agent = this.#proxied.get(key)
    if (agent === undefined) {
      agent = this.#openProxy(proxy, url)
      this.#proxied.set(key, agent)
    }
    return agent
  }

  async destroy(): Promise<void> {
    await Promise.all([this.#direct, ...this.#proxied.values()].map(async (agent) => await agent.destroy()))
  }

  #openProxy(proxy: URL, { origin }: URL): ProxyAgent {
    const { pool, connect: timeout, tls } = this.#options
    const token = proxyAuthorization(proxy)
    return new ProxyAgent({
      uri: proxy.origin,
      ...(token === undefined ? {} : { token }),
      proxyTls: { timeout, rejectUnauthorized: true },
      requestTls: { timeout, ...tls.connectionTo(origin) },
      clientFactory: (target, given) => new Pool(target, { ...given, headersTimeout: pool.headersTimeout }),
      factory: (target, given) => new Pool(target, Object.assign({}, given, pool)),
    })
  }
}

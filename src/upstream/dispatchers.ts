// The connections of one upstream and of wherever it sends us: made by ourselves, or by a proxy where one is configured.
import type * as Undici from 'undici'
import type { Agent, Dispatcher, Pool, ProxyAgent } from 'undici'
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

/** What is here is served without it, and it takes a sixth of a start: so it is loaded when somebody is first asked. */
export async function loadUndici(): Promise<typeof Undici> {
  return await import('undici')
}

export class Dispatchers {
  readonly #options: DispatchersOptions
  #direct: Agent | undefined
  /** By proxy and by whether they know who we are: connections of the two must never be taken for each other. */
  readonly #proxied = new Map<string, ProxyAgent>()
  #isDestroyed = false

  constructor(options: DispatchersOptions) {
    this.#options = options
  }

  /**
   * By a proxy it is not us who look names up: then `bounds` sees no more of them than the URL.
   * @throws undici's ClientDestroyedError after `destroy`
   */
  async to(url: URL): Promise<Dispatcher> {
    const undici = await loadUndici()
    if (this.#isDestroyed) throw new undici.errors.ClientDestroyedError()
    const proxy = proxyFor(url, this.#options.proxies)
    if (proxy === undefined) return (this.#direct ??= this.#openDirect(undici))
    const isNamed = this.#options.bounds.isNamed(url.origin)
    const key = `${isNamed} ${proxy.href}`
    let agent = this.#proxied.get(key)
    if (agent === undefined) {
      agent = this.#openProxy(undici, proxy, url)
      this.#proxied.set(key, agent)
    }
    return agent
  }

  async destroy(): Promise<void> {
    this.#isDestroyed = true
    await Promise.all([this.#direct, ...this.#proxied.values()].map(async (agent) => await agent?.destroy()))
  }

  #openDirect({ Agent, Pool }: typeof Undici): Agent {
    const { pool, connect, tls, bounds } = this.#options
    return new Agent({
      factory(origin) {
        const secured = tls.connectionTo(new URL(origin).origin)
        return new Pool(origin, { ...pool, connect: { timeout: connect, lookup: bounds.lookup, ...secured } })
      },
    })
  }

  #openProxy({ Pool, ProxyAgent }: typeof Undici, proxy: URL, { origin }: URL): ProxyAgent {
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

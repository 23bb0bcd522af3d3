// How far an upstream may send us by its redirects and token servers: anywhere in the public network, but into a private
// one only where it lies in such a network itself, or the operator has named the place.
import { lookup as resolveName, type LookupAddress } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { UpstreamError } from '../registry/upstream-error.ts'
import { isPrivateAddress, isPrivateHost } from './private-address.ts'

/** Looks a name up: all its addresses. */
export type Resolve = (
  hostname: string,
  options: Parameters<LookupFunction>[1],
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

export interface BoundsOptions {
  readonly upstream: URL
  /** Token servers that the operator has named. */
  readonly realms: readonly URL[]
  readonly resolve?: Resolve | undefined
}

export class Bounds {
  readonly #upstream: URL
  readonly #origins: ReadonlySet<string>
  readonly #hostnames: ReadonlySet<string>
  readonly #resolve: Resolve
  /**
   * Whether the upstream itself is at a private address. Of a name this is known once it has been looked up, which is
   * before it can send us anywhere.
   */
  #isInside: boolean

  constructor({ upstream, realms, resolve }: BoundsOptions) {
    this.#upstream = upstream
    this.#origins = new Set([upstream, ...realms].map(({ origin }) => origin))
    this.#hostnames = new Set([upstream, ...realms].map(({ hostname }) => hostname))
    this.#resolve =
      resolve ?? ((hostname, options, callback): void => resolveName(hostname, { ...options, all: true }, callback))
    this.#isInside = isPrivateHost(upstream.hostname)
  }

  /** Whether this is the upstream itself, or a token server that the operator has named. */
  isNamed(origin: string): boolean {
    return this.#origins.has(origin)
  }

  /** Says what can be said by the URL alone; what its name stands for is seen when a connection is made. */
  mayLeadTo(url: URL): boolean {
    return this.#isInside || this.#origins.has(url.origin) || !isPrivateHost(url.hostname)
  }

  /**
   * A redirect's target, as it is.
   * @throws UpstreamError `invalid` where it lies in a private network that is not the upstream's own
   */
  admit(url: URL): URL {
    if (this.mayLeadTo(url)) return url
    throw this.#refusal(url.hostname)
  }

  /** For sockets: looking up and connecting are one, so no second answer of the name's server can slip in between. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname, options, (error, addresses) => {
      const [first] = addresses ?? []
      if (error !== null || first === undefined) return callback(error ?? new Error(`${hostname} has no address`), '')
      const isPrivate = addresses.some(({ address }) => isPrivateAddress(address))
      if (hostname === this.#upstream.hostname) this.#isInside = isPrivate
      if (isPrivate && !this.#isInside && !this.#hostnames.has(hostname)) return callback(this.#refusal(hostname), '')
      if (options.all === true) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }

  #refusal(hostname: string): UpstreamError {
    const { host } = this.#upstream
    return new UpstreamError('invalid', host, `${host} leads to ${hostname}, which is in a private network`)
  }
}

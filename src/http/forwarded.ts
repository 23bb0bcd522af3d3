// What a proxy in front says of the client: `Forwarded` (RFC 7239), or X-Forwarded-For, -Proto and -Host. Anybody can send
// these, so they count from those proxies only that the operator has named (T-89).
import { BlockList, isIP } from 'node:net'
import type { IncomingHttpHeaders } from 'node:http'

/** A network, or whoever reaches us by a unix socket. */
export type ProxyPlace =
  | { readonly address: string; readonly prefix: number; readonly family: 'ipv4' | 'ipv6' }
  | 'unix'

/** What is known of a client; what is not, is not said. */
export interface Sender {
  readonly address: string
  readonly scheme?: 'http' | 'https' | undefined
  readonly host?: string | undefined
}

/** What one proxy says of who came to it. */
type Hop = Omit<Sender, 'address'> & { readonly address: string | undefined }

export class TrustedProxies {
  readonly #networks = new BlockList()
  readonly #trustsUnix: boolean

  constructor(places: readonly ProxyPlace[]) {
    this.#trustsUnix = places.includes('unix')
    for (const place of places) {
      if (place !== 'unix') this.#networks.addSubnet(place.address, place.prefix, place.family)
    }
  }

  /** `peer`: who has connected, an address, or empty at a unix socket. */
  senderOf(peer: string, headers: IncomingHttpHeaders): Sender {
    if (!this.#trusts(peer)) return { address: peer }
    const { 'x-forwarded-for': addresses, 'x-forwarded-proto': scheme, 'x-forwarded-host': host, forwarded } = headers
    // Both at once: most proxies set these three, and pass on whatever else a client has made up.
    if (forwarded !== undefined && addresses === undefined && scheme === undefined && host === undefined) {
      // A quote that a client leaves open would swallow what the proxy has added: then nothing is known of it.
      return wellFormed.test(forwarded) ? this.#nearest(peer, parseForwarded(forwarded)) : { address: '' }
    }
    const hops = listOf(addresses).map((text) => ({ address: findNode(text) }))
    return { ...this.#nearest(peer, hops), scheme: findScheme(listOf(scheme)[0]), host: listOf(host)[0] }
  }

  /** From our end on: who is behind the last proxy that is trusted. Beyond one whose words make no sense nothing is believed. */
  #nearest(peer: string, hops: readonly Hop[]): Sender {
    let found: Sender = { address: peer }
    for (const hop of hops.toReversed()) {
      if (!this.#trusts(found.address)) break
      found = { ...found, ...hop, address: hop.address ?? found.address }
      if (hop.address === undefined) break
    }
    return found
  }

  #trusts(address: string): boolean {
    if (address === '') return this.#trustsUnix
    const family = isIP(address)
    return family !== 0 && this.#networks.check(address.replace(/%.*$/, ''), family === 4 ? 'ipv4' : 'ipv6')
  }
}

/** As IPv4 where it is one (RFC 4291 §2.5.5.2). */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address
}

function listOf(header: string | readonly string[] | undefined): string[] {
  if (header === undefined) return []
  return header
    .toString()
    .split(',')
    .map((one) => one.trim())
}

/** An address, with or without a port, in brackets or not. */
function findNode(text: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]+)\]|([\d.]+))(?::\d+)?$/.exec(text) ?? []
  const address = plainAddress(bracketed ?? plain ?? text)
  return isIP(address) === 0 ? undefined : address
}

function findScheme(text: string | undefined): Sender['scheme'] {
  const lower = text?.toLowerCase()
  return lower === 'https' || lower === 'http' ? lower : undefined
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const pairForm = String.raw`${token}=(?:${token}|"(?:[^"\\]|\\.)*")`
const elementForm = String.raw`${pairForm}(?:[ \t]*;[ \t]*${pairForm})*`
const wellFormed = new RegExp(String.raw`^[ \t]*${elementForm}(?:[ \t]*,[ \t]*${elementForm})*[ \t]*$`)

/** RFC 7239 §4: `for=192.0.2.1;proto=https;host=a, for="[2001:db8::1]:80"` */
function parseForwarded(header: string): Hop[] {
  return splitUnquoted(header, ',').map((element) => {
    const pairs = new Map(
      splitUnquoted(element, ';').map((pair): [string, string] => {
        const [, name = '', value = ''] = /^\s*([^=\s]+)=(.*)$/.exec(pair) ?? []
        return [
          name.toLowerCase(),
          value
            .trim()
            .replace(/^"(.*)"$/, '$1')
            .replace(/\\(.)/g, '$1'),
        ]
      }),
    )
    return {
      address: findNode(pairs.get('for') ?? ''),
      scheme: findScheme(pairs.get('proto')),
      host: pairs.get('host'),
    }
  })
}

function splitUnquoted(text: string, separator: ',' | ';'): string[] {
  return text.match(separator === ',' ? /(?:"(?:\\.|[^"\\])*"|[^,"])+/g : /(?:"(?:\\.|[^"\\])*"|[^;"])+/g) ?? []
}

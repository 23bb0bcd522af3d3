// Networks of clients, as CIDR writes them: `10.0.0.0/8`, `2001:db8::/32`, or one address.
import { BlockList, isIP, isIPv6 } from 'node:net'

export class Networks {
  readonly #list = new BlockList()

  /** @throws TypeError where one is no network; the configuration has looked at them before */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const { address, bits, family } = parse(network)
      this.#list.addSubnet(address, bits, family)
    }
  }

  /** An IPv4 address in IPv6's clothes (`::ffff:10.0.0.1`), as a listener on both shows it, is the IPv4 address. */
  has(address: string): boolean {
    const bare = address.replace(/%.*$/, '')
    if (isIP(bare) === 0) return false
    return this.#list.check(bare, isIPv6(bare) ? 'ipv6' : 'ipv4')
  }
}

function parse(network: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } {
  const [, address = '', digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(network) ?? []
  const version = isIP(address)
  const most = version === 6 ? 128 : 32
  const bits = digits === undefined ? most : Number(digits)
  if (version === 0 || bits > most) throw new TypeError('not a network')
  return { address, bits, family: version === 6 ? 'ipv6' : 'ipv4' }
}

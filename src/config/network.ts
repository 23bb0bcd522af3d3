// Networks as `10.0.0.0/8` or `fd00::/8`, and single addresses.
import { isIP } from 'node:net'

export interface Network {
  readonly address: string
  /** Bits. */
  readonly prefix: number
  readonly family: 'ipv4' | 'ipv6'
}

export function findNetwork(text: string): Network | undefined {
  const [, address = '', digits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const version = isIP(address)
  if (version === 0) return undefined
  const most = version === 4 ? 32 : 128
  const prefix = digits === undefined ? most : Number(digits)
  return prefix > most ? undefined : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' }
}

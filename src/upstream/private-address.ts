// Addresses that mean this machine or a network that is not everybody's: where a stranger may not send us (T-63).
import { BlockList, isIP } from 'node:net'

/** «This network», private, shared, loopback, link-local, multicast, reserved and broadcast (RFC 6890). */
const ipv4: ReadonlyArray<readonly [net: string, prefix: number]> = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
]

/** Unspecified, loopback, «IPv4-compatible»; translation within a site; unique local, link-local, site-local; multicast. */
const ipv6: ReadonlyArray<readonly [net: string, prefix: number]> = [
  ['::', 96],
  ['64:ff9b:1::', 48],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
]

const isPrivate = new BlockList()
for (const [net, prefix] of ipv4) {
  isPrivate.addSubnet(net, prefix, 'ipv4') // and `::ffff:…`, which the list knows to be the same
  isPrivate.addSubnet(`64:ff9b::${net}`, 96 + prefix, 'ipv6') // the same behind a NAT64 (RFC 6052 §2.1)
}
for (const [net, prefix] of ipv6) isPrivate.addSubnet(net, prefix, 'ipv6')

export function isPrivateAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && isPrivate.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** Of a URL's `hostname`: all notations of an IPv4 address have become one there. Other names have to be looked up. */
export function isPrivateHost(hostname: string): boolean {
  return /^(?:.+\.)?localhost\.?$/i.test(hostname) || isPrivateAddress(hostname.replace(/^\[|\]$/g, ''))
}

// Whom a request is for, said once (RFC 9112 §3.2): with two Host headers a proxy in front may have meant another than we do.
import type { IncomingMessage } from 'node:http'

/** Exactly one Host; before HTTP/1.1 none will do. */
export function hasOneHost({ rawHeaders, httpVersionMinor, httpVersionMajor }: IncomingMessage): boolean {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  return hosts === 1 || (hosts === 0 && httpVersionMajor === 1 && httpVersionMinor === 0)
}

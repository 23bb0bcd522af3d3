// Which proxy, if any, a request goes out through.
import { BlockList, isIP } from 'node:net'

export interface HttpProxies {
  /** For http URLs; may hold a user name and password. */
  readonly http: URL | undefined
  /** For https URLs, likewise. */
  readonly https: URL | undefined
  /** Hosts that are reached without: names, which mean all below them too, addresses, networks, `host:port`, `*`. */
  readonly except: readonly string[]
}

export function proxyFor(url: URL, proxies: HttpProxies | undefined): URL | undefined {
  const proxy = url.protocol === 'https:' ? proxies?.https : proxies?.http
  return proxy === undefined || proxies?.except.some((one) => covers(one, url)) === true ? undefined : proxy
}

function covers(pattern: string, url: URL): boolean {
  if (pattern === '*') return true
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (isIP(host) > 0 && coversAddress(pattern, host)) return true
  const [, name = '', port] = /^(?:\*\.)?(.+?)(?::(\d+))?$/.exec(pattern.toLowerCase()) ?? []
  if (port !== undefined && port !== (url.port || (url.protocol === 'https:' ? '443' : '80'))) return false
  return (
    host === name.replace(/^\[|\]$/g, '') ||
    (isIP(host) === 0 && host.endsWith(name.startsWith('.') ? name : `.${name}`))
  )
}

function coversAddress(pattern: string, host: string): boolean {
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(pattern) ?? []
  const [family, own] = [isIP(address), isIP(host)]
  if (family === 0) return false
  const most = family === 4 ? 32 : 128
  const bits = prefix === undefined ? most : Number(prefix)
  if (bits > most) return false
  const list = new BlockList()
  list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
  return list.check(host, own === 4 ? 'ipv4' : 'ipv6')
}

/** `Proxy-Authorization`; `undefined`: the URL has no user name. */
export function proxyAuthorization({ username, password }: URL): string | undefined {
  if (username === '') return undefined
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

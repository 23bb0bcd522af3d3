// Proxies that upstreams are reached through: `httpproxy`, or what HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment say,
// as Go reads them for other registries. Their URLs may hold a password, and are never shown.
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import type { Environment } from './environment.ts'
import { readText, resolvePath } from './named-file.ts'
import { findProxyUrl, type HttpProxyConfig } from './proxy-url.ts'
import type { ResolveContext } from './section.ts'

export interface HttpProxyInput {
  /** A URL, or `none`. */
  readonly httpproxy?: string | undefined
  /** A file that holds the URL. */
  readonly httpproxyfile?: string | undefined
}

/** What this machine itself offers is not reached by a proxy, as with Go. */
const ownHosts = ['localhost', '127.0.0.0/8', '::1']

/** `inherited` where neither key says something. @throws ConfigError */
export function resolveHttpProxy(
  { httpproxy, httpproxyfile }: HttpProxyInput,
  at: KeyPath,
  inherited: HttpProxyConfig | undefined,
  context: ResolveContext,
): HttpProxyConfig | undefined {
  const key = formatPath([...at, httpproxyfile === undefined ? 'httpproxy' : 'httpproxyfile'])
  if (httpproxy !== undefined && httpproxyfile !== undefined) {
    throw new ConfigError(`${key}: found beside httpproxy, expected one of them`)
  }
  if (httpproxy === 'none') return undefined
  const path = httpproxyfile === undefined ? undefined : resolvePath(httpproxyfile, context)
  const text = path === undefined ? httpproxy : readText(path, key).trim()
  if (text === undefined) return inherited
  const proxy = findProxyUrl(text)
  if (proxy !== undefined) return { http: proxy, https: proxy, except: [] }
  if (path !== undefined) {
    throw new ConfigError(
      `${key}: ${path} does not hold the http or https URL of a proxy, such as http://proxy.example:3128`,
    )
  }
  throw new ConfigError(`${key}: expected the http or https URL of a proxy, such as http://proxy.example:3128, or none`)
}

/** A variable that cannot be used is meant for others as well: it is said, and passed over. */
export function environmentProxy(env: Environment, warn: (line: string) => void): HttpProxyConfig | undefined {
  const read = (name: string): URL | undefined => {
    const text = env[name.toLowerCase()] || env[name]
    if (!text) return undefined
    const proxy = findProxyUrl(text.includes('://') ? text : `http://${text}`)
    if (proxy === undefined) warn(`${name} is not the http or https URL of a proxy and is ignored`)
    return proxy
  }
  const [http, https] = [read('HTTP_PROXY'), read('HTTPS_PROXY')]
  if (http === undefined && https === undefined) return undefined
  const except = (env['no_proxy'] || env['NO_PROXY'] || '').split(/[\s,]+/).filter((one) => one !== '')
  return { http, https, except: [...ownHosts, ...except] }
}

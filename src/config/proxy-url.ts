// Proxies that others are reached through, by their URLs.

/** Whose URLs may hold a user name and password. */
export interface HttpProxyConfig {
  /** For http URLs. */
  readonly http: URL | undefined
  /** For https URLs. */
  readonly https: URL | undefined
  /** Hosts that are reached without it, in the words of NO_PROXY. */
  readonly except: readonly string[]
}

export function findProxyUrl(text: string): URL | undefined {
  const url = /^https?:\/\/[^\s/\\?#]+\/?$/i.test(text) ? URL.parse(text) : null
  try {
    decodeURIComponent(`${url?.username}${url?.password}`)
    return url ?? undefined
  } catch {
    return undefined // a lone % means nothing
  }
}

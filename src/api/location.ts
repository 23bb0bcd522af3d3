// Where a client finds what it has made: the Location of uploads, blobs and manifests.
import type { Request } from '../http/exchange.ts'

export interface LocationOptions {
  /** Begins and ends with `/`. */
  readonly prefix: string
  /** How clients reach us, where it is configured (`http.host`). A path that ends with `/` stands for `prefix`, as with distribution. */
  readonly externalUrl: URL | undefined
  /** Paths alone, without scheme and host. */
  readonly relativeUrls: boolean
}

/** `path` lies below the API's prefix. What a client says of itself only ever comes back to that client. */
export function locationOf(path: string, request: Pick<Request, 'host' | 'scheme'>, options: LocationOptions): string {
  const absolute = `${options.prefix}${path}`
  const { externalUrl } = options
  if (externalUrl !== undefined) {
    const { origin, pathname } = externalUrl
    return pathname !== '/' && pathname.endsWith('/') ? `${origin}${pathname}${path}` : `${origin}${absolute}`
  }
  const { host, scheme } = request
  if (options.relativeUrls || host === undefined || !/^[\w.-]+(?::\d+)?$|^\[[\da-f:.]+\](?::\d+)?$/i.test(host)) {
    return absolute
  }
  return `${scheme}://${host}${absolute}`
}

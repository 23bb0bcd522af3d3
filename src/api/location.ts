// Where a client finds what it has made: the Location of uploads, blobs and manifests.
import type { Request } from '../http/exchange.ts'

export interface LocationOptions {
  /** Begins and ends with `/`. */
  readonly prefix: string
  /** How clients reach us, where it is configured (`http.host`); its path is not used. */
  readonly externalUrl: URL | undefined
  /** Paths alone, without scheme and host. */
  readonly relativeUrls: boolean
}

/** `path` lies below the API's prefix. What a client says of itself only ever comes back to that client. */
export function locationOf(path: string, request: Pick<Request, 'host' | 'scheme'>, options: LocationOptions): string {
  const absolute = `${options.prefix}${path}`
  if (options.externalUrl !== undefined) return `${options.externalUrl.origin}${absolute}`
  const { host, scheme } = request
  if (options.relativeUrls || host === undefined || !/^[\w.-]+(?::\d+)?$|^\[[\da-f:.]+\](?::\d+)?$/i.test(host)) {
    return absolute
  }
  return `${scheme}://${host}${absolute}`
}

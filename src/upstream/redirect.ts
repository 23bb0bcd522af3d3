// Where a redirect may lead (RFC 9110 §15.4): to any host, but never to another scheme than http(s), never from https
// to http, and never with a user name in the URL.
import { UpstreamError } from '../registry/upstream-error.ts'

export const maxRedirects = 5

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

export function isRedirect(status: number): boolean {
  return redirects.has(status)
}

/**
 * The next hop. Messages name hosts only: a signed URL is a secret.
 * @throws UpstreamError `invalid`
 */
export function nextHop(from: URL, location: string | undefined): URL {
  const refuse = (why: string): UpstreamError =>
    new UpstreamError('invalid', from.host, `${from.host} redirects ${why}`)
  if (location === undefined || location === '') throw refuse('without saying where to')
  // A browser reads `\` as `/` and `//host` as another host: nothing honest needs either here.
  if (/^[/\\]{2}/.test(location) || !/^[\x21-\x5b\x5d-\x7e]+$/.test(location)) throw refuse('to what is not a URL')
  const next = URL.parse(location, from.href)
  if (next === null) throw refuse('to what is not a URL')
  if (next.protocol !== 'https:' && next.protocol !== 'http:') throw refuse('to what is neither http nor https')
  if (from.protocol === 'https:' && next.protocol !== 'https:') throw refuse(`from https to http, at ${next.host}`)
  if (next.username !== '' || next.password !== '') throw refuse(`to a URL with a user name, at ${next.host}`)
  next.hash = ''
  return next
}

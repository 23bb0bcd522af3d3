// Reading `Link` (RFC 8288) for the next page.
import { UpstreamError } from '../registry/upstream-error.ts'

const linkValue = /<([^<>]{0,4096})>((?:[^",]|"(?:[^"\\]|\\.)*")*)/g

/**
 * The next page, `undefined` on the last one.
 * @throws UpstreamError `invalid` where it lies at another origin
 */
export function nextLink(lines: readonly string[], from: URL): URL | undefined {
  for (const [, target = '', parameters = ''] of lines.join(', ').matchAll(linkValue)) {
    if (!isNext(parameters)) continue
    const next = URL.parse(target, from.href)
    if (next === null || next.origin !== from.origin || next.username !== '' || next.password !== '') {
      throw new UpstreamError('invalid', from.host, `${from.host} continues its list at another place`)
    }
    next.hash = ''
    return next
  }
  return undefined
}

/** Cut up, and not searched by a pattern: one that goes back over what it has read makes a run of spaces cost its square. */
function isNext(parameters: string): boolean {
  return parameters.split(';').some((parameter) => {
    const [name = '', ...value] = parameter.split('=')
    const relations = value.join('=').replaceAll('"', ' ').toLowerCase().split(/\s+/)
    return name.trim().toLowerCase() === 'rel' && relations.includes('next')
  })
}

// Conditional requests (RFC 9110 §13) on content whose entity tag is its digest.
import type { Digest } from '../oci/digest.ts'

export function entityTag(digest: Digest): string {
  return `"${digest}"`
}

/** Whether `If-None-Match` names this content; distribution's clients also send the digest without quotes. */
export function noneMatch(header: string | undefined, digest: Digest): boolean {
  if (header === undefined) return false
  const tags = header.match(/(?:W\/)?"[^"]*"|[^\s,]+/g) ?? [] // a quoted tag may hold commas
  return tags.some((part) => {
    const tag = part.replace(/^W\//, '')
    return tag === '*' || tag === digest || tag === entityTag(digest)
  })
}

/** Whether a `Range` still counts: there is no `If-Range`, or it names exactly this content (§13.1.5: strong only). */
export function rangeApplies(ifRange: string | undefined, digest: Digest): boolean {
  return ifRange === undefined || ifRange.trim() === entityTag(digest)
}

// Reading `Content-Range` (RFC 9110 §14.4) and `Content-Length`, as strictly as a splice needs them.

export interface ContentRange {
  /** Absent in an answer to a range that cannot be satisfied: `bytes *\/0`. */
  readonly interval: { readonly start: number; readonly end: number } | undefined
  /** Of the whole; absent where the server does not know it. */
  readonly size: number | undefined
}

/** `end` is exclusive. `undefined`: the header is missing, in another unit, or contradicts itself. */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const match = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15}|\*)$/i.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const [, first, last, total] = match
  const size = total === '*' ? undefined : Number(total)
  if (first === undefined || last === undefined) return size === undefined ? undefined : { interval: undefined, size }
  const interval = { start: Number(first), end: Number(last) + 1 }
  if (interval.end <= interval.start || (size !== undefined && interval.end > size)) return undefined
  return { interval, size }
}

export function parseContentLength(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined
}

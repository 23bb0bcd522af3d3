// Byte ranges (RFC 9110 §14).
import { RangeNotSatisfiableError } from '../oci/error.ts'

/** What was asked for: from `start` on, to `end` if given, or the last `suffix` bytes. */
export type RangeSpec =
  | { readonly start: number; readonly end?: number | undefined } // `end` is exclusive
  | { readonly suffix: number }

/** Bytes `start` up to but not including `end`, both within the content. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** More ranges than this in one header are not a client's need but an attack; the header is then ignored. */
const maxRanges = 32

/**
 * Reads a `Range` header. `undefined`: there is none, or one that a server ignores (another unit, too many ranges), and
 * the whole content is to be sent. An empty list: the header is malformed, which distribution answers with 416.
 */
export function parseRangeHeader(header: string | undefined): RangeSpec[] | undefined {
  if (header === undefined) return undefined
  const match = /^bytes\s*=\s*(.*)$/i.exec(header.trim())
  if (match === null) return undefined
  const parts = (match[1] ?? '').split(',', maxRanges + 1)
  if (parts.length > maxRanges) return undefined
  const specs: RangeSpec[] = []
  for (const part of parts.map((text) => text.trim())) {
    if (part === '') continue // as in any list (RFC 9110 §5.6.1.2)
    const spec = parseSpec(part)
    if (spec === undefined) return []
    specs.push(spec)
  }
  return specs
}

function parseSpec(text: string): RangeSpec | undefined {
  const match = /^(\d*)-(\d*)$/.exec(text)
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  const [start, end] = [positionOf(first), positionOf(last)]
  if (first === '') return last === '' ? undefined : { suffix: end }
  if (last === '') return { start }
  return end < start ? undefined : { start, end: end + 1 }
}

/** Some clients write the largest number that they know for the end: beyond every content all are the same. */
function positionOf(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1)
}

/** @throws RangeNotSatisfiableError where no byte of the content is asked for */
export function resolveRange(spec: RangeSpec, size: number): ByteRange {
  if ('suffix' in spec) {
    if (spec.suffix === 0 || size === 0) throw new RangeNotSatisfiableError(size)
    return { start: Math.max(0, size - spec.suffix), end: size }
  }
  if (spec.start >= size) throw new RangeNotSatisfiableError(size)
  return { start: spec.start, end: Math.min(spec.end ?? size, size) }
}

/** `bytes 0-9/100` */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`
}

// The last look at a log line: it stays one line wherever it is shown, and no longer than what reads it can take.

/** Bytes. Collectors cut a longer line apart, and then none of it can be read. */
const maxLine = 8192

/** What a terminal or an editor may obey instead of showing; JSON leaves it as it is. */
const unsafe = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** How much of a long line's texts and lists is kept; the next where that is still too much. */
const measures: readonly { readonly text: number; readonly entries: number }[] = [
  { text: 1024, entries: 30 },
  { text: 200, entries: 10 },
  { text: 40, entries: 5 },
]

/** `line`: JSON. As `text` it is parsed once more before it is shown. */
export function finishLine(line: string, format: 'json' | 'text'): string {
  if (Buffer.byteLength(line) <= maxLine) {
    const escaped = escapeUnsafe(line, format)
    if (escaped.length <= line.length || Buffer.byteLength(escaped) <= maxLine) return escaped
  }
  const parsed: Record<string, unknown> = JSON.parse(line)
  const { level, time, msg, ...fields } = parsed
  const head = { level, time, msg, shortened: true }
  for (const measure of measures) {
    const shorter = escapeUnsafe(`${JSON.stringify({ ...head, ...shortened(fields, measure) })}\n`, format)
    if (Buffer.byteLength(shorter) <= maxLine) return shorter
  }
  return `${JSON.stringify(head)}\n`
}

function escapeUnsafe(line: string, format: 'json' | 'text'): string {
  const escape = format === 'json' ? '\\u' : '\\\\u'
  return line.replace(unsafe, (character) => escape + character.charCodeAt(0).toString(16).padStart(4, '0'))
}

function shortened<T>(value: T, measure: (typeof measures)[number]): T
function shortened(value: unknown, measure: (typeof measures)[number]): unknown {
  const { text, entries } = measure
  if (typeof value === 'string') return value.length > text ? `${value.slice(0, text)}…` : value
  if (Array.isArray(value)) return value.slice(0, entries).map((entry: unknown) => shortened(entry, measure))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, entries)
      .map(([key, entry]) => [key.slice(0, text), shortened<unknown>(entry, measure)]),
  )
}

// Reading `Retry-After` (RFC 9110 §10.2.3).

const shortest = 1
const longest = 3600

const httpDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/** Seconds to wait, between one second and one hour; `undefined` where the header says nothing that can be read. */
export function parseRetryAfter(header: string | undefined, now: number = Date.now()): number | undefined {
  if (header === undefined) return undefined
  const text = header.trim()
  if (/^\d{1,15}$/.test(text)) return clamp(Number(text))
  if (!httpDate.test(text)) return undefined
  const until = Date.parse(text)
  return Number.isNaN(until) ? undefined : clamp(Math.ceil((until - now) / 1000))
}

function clamp(seconds: number): number {
  return Math.min(longest, Math.max(shortest, seconds))
}

// Durations as Go writes them (time.ParseDuration), and `d` for days.
import { ConfigError } from './config-error.ts'

const nanosecond = 1e-6
const millisecondsIn: Readonly<Record<string, number>> = {
  ns: nanosecond,
  us: 1e-3,
  µs: 1e-3, // U+00B5, the micro sign
  μs: 1e-3, // U+03BC, the Greek letter
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Go's longest duration: 2^63 - 1 nanoseconds, about 292 years. */
const longest = 2 ** 63 * nanosecond

/**
 * `1h30m`, `1.5h`, `300ms`, `7d`; `0` needs no unit. A bare number is refused unless `bare` gives it the unit it has in
 * distribution's files, where it counts nanoseconds.
 * @returns milliseconds, never negative
 * @throws ConfigError
 */
export function parseDuration(text: string, options?: { readonly bare?: 'nanoseconds' | undefined }): number {
  const milliseconds = /^\+?\d+$/.test(text) ? bareNumber(Number(text), options?.bare) : sum(text)
  if (milliseconds === undefined || !(milliseconds < longest)) {
    throw new ConfigError(`not a duration: ${JSON.stringify(text.slice(0, 40))}; 30s, 15m, 1h30m and 7d are`)
  }
  return milliseconds
}

function bareNumber(value: number, unit: 'nanoseconds' | undefined): number | undefined {
  if (value === 0) return 0
  return unit === undefined ? undefined : value * nanosecond
}

function sum(text: string): number | undefined {
  if (!/^\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d))+$/.test(text)) return undefined
  let total = 0
  for (const [, amount, unit = ''] of text.matchAll(/([\d.]+)([^\d.+]+)/g)) {
    total += Number(amount) * (millisecondsIn[unit] ?? Number.NaN)
  }
  // Sums of decimal fractions drift in the last bits; no one asks for less than a nanosecond.
  return Number(total.toFixed(6))
}

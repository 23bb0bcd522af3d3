// What is said of several runs.

/** The middle one, and between which two all lie. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** `undefined`: nothing was measured. Of an even number, the mean of the two in the middle. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((one, other) => one - other)
  const [min] = sorted
  const max = sorted.at(-1)
  const low = sorted[Math.floor((sorted.length - 1) / 2)]
  const high = sorted[Math.floor(sorted.length / 2)]
  if (min === undefined || max === undefined || low === undefined || high === undefined) return undefined
  return { median: (low + high) / 2, min, max }
}

/** The smallest of these, in order, that so large a part of them does not exceed. */
export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? NaN
}

export type Unit = '/s' | 'GB/s' | 's/GB' | 's' | 'ms' | 'MiB' | '×'

/** The number alone. */
export function figure(value: number, unit: Unit): string {
  const digits = { '/s': 0, 'GB/s': 2, 's/GB': 2, s: 2, ms: 2, MiB: 0, '×': 2 }[unit]
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function spreadText({ median, min, max }: Spread, unit: Unit): string {
  const range = min === max ? '' : ` (${figure(min, unit)}–${figure(max, unit)})`
  return `${figure(median, unit)}${unit === '×' ? '' : ' '}${unit}${range}`
}

/** How many times one is the other, to two or three places. */
export function timesText(times: number): string {
  return `${times >= 10 ? times.toFixed(0) : times.toFixed(2)}×`
}

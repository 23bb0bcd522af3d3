// The kinds of value a key may hold. All come as text, from YAML or from the environment; a kind reads the text or says
// what it expected. It is the key that makes `0123` a password or a number.
import { ConfigError, misfit } from './config-error.ts'
import { parseDuration } from './duration.ts'
import { parseSize } from './size.ts'
import type { Schema } from './section.ts'

/** A value read from one text. `expected` follows «expected» in the error; `find` answers `undefined` for a misfit. */
export function leaf<T>(expected: string, find: (text: string) => T | undefined): Schema<T> {
  return {
    inside: { kind: 'leaf' },
    read: (value, path) => {
      const found = typeof value === 'string' ? attempt(() => find(value)) : undefined
      if (found === undefined) throw misfit(path, value, expected)
      return found
    },
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof ConfigError) return undefined
    throw error
  }
}

export const text: Schema<string> = leaf('text', (value) => value)

/** YAML 1.1 has these words for booleans, and distribution reads YAML 1.1. */
const words: ReadonlyMap<string, boolean> = new Map([
  ...['true', 'yes', 'on', 'y'].map((word) => [word, true] as const),
  ...['false', 'no', 'off', 'n'].map((word) => [word, false] as const),
])

export const flag: Schema<boolean> = leaf('true or false', (value) => words.get(value.toLowerCase()))

export function integer(
  least: number = Number.MIN_SAFE_INTEGER,
  expected: string = 'a whole number',
  most: number = Number.MAX_SAFE_INTEGER,
): Schema<number> {
  return leaf(expected, (value) => {
    const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN
    return Number.isSafeInteger(number) && number >= least && number <= most ? number : undefined
  })
}

/** 0, 1, 2 … */
export const count: Schema<number> = integer(0, 'a whole number, 0 or more')

export function oneOf<const T extends string>(values: readonly T[], expected: string = oneOfWords(values)): Schema<T> {
  return leaf(expected, (value) => values.find((one) => one === value.toLowerCase()))
}

function oneOfWords(values: readonly string[]): string {
  return values.length === 1 ? String(values[0]) : `${values.slice(0, -1).join(', ')} or ${values.at(-1) ?? ''}`
}

/** A duration among distribution's keys: a bare number counts nanoseconds. */
export const goDuration: Schema<number> = leaf('a duration such as 300ms, 30s or 1h30m', (value) =>
  parseDuration(value, { bare: 'nanoseconds' }),
)

/** The same, as long as a timer can be. */
export const goPatience: Schema<number> = leaf('a duration of at most 24 days, such as 30s', (value) => {
  const milliseconds = parseDuration(value, { bare: 'nanoseconds' })
  return milliseconds < 2 ** 31 ? milliseconds : undefined
})

/** A duration among our own keys: a number other than 0 needs its unit. */
export const duration: Schema<number> = leaf('a duration with its unit, such as 30s, 15m or 7d', (value) =>
  parseDuration(value),
)

/** A timer holds 2^31 - 1 milliseconds, and a wait without an end is not offered. */
export const timeout: Schema<number> = timeoutUpTo('24d', 2 ** 31 - 1)

/** The same, where up to three of them are waited for one after the other, by one timer. */
export const partOfTimeout: Schema<number> = timeoutUpTo('8d', (2 ** 31 - 1) / 3)

/** Whole, as not all who wait take a part of a millisecond. */
function timeoutUpTo(said: string, most: number): Schema<number> {
  return leaf(`a duration with its unit, from 1ms to ${said}, such as 10s`, (value) => {
    const milliseconds = parseDuration(value)
    return milliseconds >= 1 && milliseconds <= most ? Math.ceil(milliseconds) : undefined
  })
}

/** The same, where 0 is a way to say that others set the limit. */
export const patience: Schema<number> = leaf('a duration with its unit, from 0s to 24d, such as 3s', (value) => {
  const milliseconds = parseDuration(value)
  return milliseconds < 2 ** 31 ? milliseconds : undefined
})

export const size: Schema<number> = leaf('a size such as 64MiB, 10GB or 1024', parseSize)

/** An http or https URL. A user name in it is left for the caller to refuse in its own words. */
export const url: Schema<URL> = leaf('an http or https URL with a host, without query or fragment', findUrl)

/** The same, and without a user name. */
export const plainUrl: Schema<URL> = leaf(
  'an http or https URL with a host, without user name, query or fragment',
  findPlainUrl,
)

export function findPlainUrl(value: string): URL | undefined {
  const found = findUrl(value)
  return found === undefined || hasUserinfo(found) ? undefined : found
}

function findUrl(value: string): URL | undefined {
  if (!/^https?:\/\/[^/\\?#]/i.test(value) || /[?#\s]/.test(value)) return undefined
  return URL.parse(value) ?? undefined
}

export function hasUserinfo(value: URL): boolean {
  return value.username !== '' || value.password !== ''
}

/** One address, without a name: what could end a header or begin another address is in none. */
export const mailAddress: Schema<string> = leaf('a mail address, such as ops@example.com', (value) =>
  /^[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+$/.test(value) ? value : undefined,
)

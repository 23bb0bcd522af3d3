// Random cases that can be run again: each has a seed, which a failure names.
import { test } from 'node:test'

export interface Random {
  /** At least 0 and less than `limit`. */
  int(limit: number): number
  /** True once in `times`. */
  oneIn(times: number): boolean
  pick<const Items extends readonly unknown[]>(items: Items): Items[number]
  /** One character of `alphabet`. */
  character(alphabet: string): string
  /** `least` to `most` characters of `alphabet`. */
  text(alphabet: string, least: number, most: number): string
}

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed | 0
  const int = (limit: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
  const character = (alphabet: string): string => alphabet.charAt(int(alphabet.length))
  return {
    int,
    oneIn: (times) => int(times) === 0,
    pick: <const Items extends readonly unknown[]>(items: Items): Items[number] => items[int(items.length)],
    character,
    text: (alphabet, least, most) =>
      Array.from({ length: least + int(most - least + 1) }, () => character(alphabet)).join(''),
  }
}

export const cases = 20_000

/** Runs `check` on that many cases, others every time; `SEED=<n>` begins with the one that a failure has named. */
export function property(
  sentence: string,
  check: (random: Random, seed: number) => void | Promise<void>,
  count: number = cases,
): void {
  test(sentence, async () => {
    const start = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
    for (let seed = start; seed < start + count; seed++) {
      try {
        const running = check(seeded(seed), seed)
        if (running instanceof Promise) await running
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : String(cause)
        throw new Error(`SEED=${seed}: ${message}`, { cause })
      }
    }
  })
}

/** Changes a text in one place: a character goes, comes, or becomes another. */
export function mutated(random: Random, text: string, alphabet: string): string {
  const at = random.int(text.length + 1)
  const inserted = random.oneIn(3) ? '' : random.character(alphabet)
  return text.slice(0, at) + inserted + text.slice(at + random.int(2))
}

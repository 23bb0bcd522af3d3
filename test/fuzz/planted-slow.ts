// A parser that takes the square of its input's length.
import type { Target } from './fuzzer.ts'

export const target: Target = {
  seeds: ['short'],
  words: ['x'.repeat(900)],
  check(input) {
    let equal = 0
    for (const a of input) for (const b of input) if (a === b) equal++
    if (equal < 0) throw new Error('never')
  },
}

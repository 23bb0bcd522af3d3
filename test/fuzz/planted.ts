// A parser with a fault that chance alone does not find in reasonable time: each step of four shows that it was right.
import type { Target } from './fuzzer.ts'

export const target: Target = {
  seeds: ['no'],
  words: ['?'],
  check(input) {
    if (input[0] !== '#') return
    if (input[1] !== 'q') return
    if (input[2] !== '7') return
    if (input[3] !== '}') return
    throw new Error('found')
  },
}

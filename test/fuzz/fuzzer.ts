// A fuzzer that is led by coverage: inputs are changed at random, and those that reach code which none has reached before
// are changed further.
import type { Coverage } from './coverage.ts'
import { seeded, type Random } from '../support/seeded.ts'

export interface Target {
  /** Inputs to begin with: good ones, one for each thing that the parser knows. */
  readonly seeds: readonly string[]
  /** What is put in now and then: words of the grammar, since no counter sees how near a comparison was. */
  readonly words: readonly string[]
  /** Throws where the parser throws what it should not, or breaks a promise. */
  readonly check: (input: string) => void | Promise<void>
}

export interface Failure {
  readonly input: string
  readonly error: unknown
}

export interface FuzzOptions {
  readonly seed: number
  /** Asked before each batch, with the number of inputs that were tried. */
  readonly goesOn: (tried: number) => boolean
  /** Without it, chance alone. */
  readonly coverage: Coverage | undefined
}

export interface Fuzzed {
  readonly tried: number
  /** What reached something new. */
  readonly corpus: readonly string[]
  readonly failure: Failure | undefined
}

/** Inputs between two looks at the coverage, which cost as much as many inputs. */
const batchSize = 128
const maxLength = 4096
/** Blocks that may run for each character of an input, and once. */
const stepsPerCharacter = 400
const stepsAtLeast = 500_000

/** Ends at the first failure. */
export async function fuzz(target: Target, options: FuzzOptions): Promise<Fuzzed> {
  const { coverage, goesOn } = options
  const random = seeded(options.seed)
  const corpus: string[] = []
  let tried = 0
  let batch = target.seeds
  do {
    for (const input of batch) {
      const failure = await failureOf(target, input)
      if (failure !== undefined) return { tried, corpus, failure }
      tried++
    }
    if (coverage === undefined && corpus.length === 0) corpus.push(...batch)
    const seen = await coverage?.take(false)
    if (coverage !== undefined && seen !== undefined && (seen.isNew || seen.steps > stepsFor(batch))) {
      for (const input of batch) {
        await target.check(input)
        const { isNew, steps } = await coverage.take(true)
        if (steps > stepsFor([input])) return { tried, corpus, failure: { input, error: new Error(`${steps} steps`) } }
        if (isNew) corpus.push(input)
      }
    }
    batch = Array.from({ length: batchSize }, () => changed(random, corpus, target.words))
  } while (goesOn(tried))
  return { tried, corpus, failure: undefined }
}

async function failureOf({ check }: Target, input: string): Promise<Failure | undefined> {
  try {
    await check(input)
    return undefined
  } catch (error) {
    return { input, error }
  }
}

function stepsFor(inputs: readonly string[]): number {
  return inputs.reduce((sum, { length }) => sum + stepsAtLeast + length * stepsPerCharacter, 0)
}

/** One of the corpus, of late ones rather, in one to eight places. */
function changed(random: Random, corpus: readonly string[], words: readonly string[]): string {
  const pick = (): string => corpus[random.oneIn(2) ? random.int(corpus.length) : late(random, corpus.length)] ?? ''
  let text = pick()
  for (let changes = random.int(4) === 0 ? 1 + random.int(8) : 1; changes > 0; changes--) {
    text = changedOnce(random, text, words, pick)
  }
  return text.slice(0, maxLength)
}

function late(random: Random, length: number): number {
  return length - 1 - random.int(Math.min(length, 64))
}

function changedOnce(random: Random, text: string, words: readonly string[], pick: () => string): string {
  const from = random.int(text.length + 1)
  const to = from + random.int(random.oneIn(4) ? text.length - from + 1 : Math.min(8, text.length - from + 1))
  const part = text.slice(from, to)
  const other = pick()
  const instead = (): string => {
    switch (random.int(12)) {
      case 0:
        return ''
      case 1:
        return part + part
      case 2:
        return part.repeat(1 + random.int(64))
      case 3:
        return words[random.int(words.length)] ?? ''
      case 4:
        return part + (words[random.int(words.length)] ?? '')
      case 5:
        return other.slice(random.int(other.length + 1), random.int(other.length + 1))
      case 6:
        return random.oneIn(2) ? part.toUpperCase() : part.toLowerCase()
      case 7:
        return String(random.pick([-1, 0, 1, 255, 256, 2 ** 31, 2 ** 53, 1e21, '1e400', '٣']))
      default:
        return random.oneIn(16) ? random.pick(['\0', '\r\n', '\u2028', 'é', '\ud800', '\u0130']) : printable(random)
    }
  }
  return text.slice(0, from) + instead() + text.slice(random.oneIn(2) ? from : to)
}

function printable(random: Random): string {
  return String.fromCharCode(32 + random.int(95))
}

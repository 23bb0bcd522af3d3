// Counts by labels, added to in passing and read when somebody asks.

export type Labels = Readonly<Record<string, string | number>>

export interface Sample {
  readonly labels: Labels
  readonly value: number
}

export class Tally<Names extends string> {
  readonly #names: readonly Names[]
  readonly #counts = new Map<string, { readonly labels: Labels; value: number }>()

  /** Their values, in this order, must be few and ours: a client's word is none (T-94). */
  constructor(...names: readonly Names[]) {
    this.#names = names
  }

  add(value: number, ...values: readonly string[]): void {
    const key = values.join(' ')
    const count = this.#counts.get(key)
    if (count !== undefined) count.value += value
    else {
      const labels = Object.fromEntries(this.#names.map((name, index) => [name, values[index] ?? '']))
      this.#counts.set(key, { labels, value })
    }
  }

  samples(): Iterable<Sample> {
    return this.#counts.values()
  }
}

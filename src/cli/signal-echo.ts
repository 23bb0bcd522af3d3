// Tells a signal that comes twice from one that is sent twice.

/** Milliseconds for which a signal that comes again is the same one: a terminal gives us Ctrl-C, and then so does npm. */
const echo = 500

export class SignalEcho {
  readonly #clock: () => number
  #first: { readonly name: string; readonly at: number } | undefined

  /** `clock`: in milliseconds, never set back; for tests. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock
  }

  /** Whether it is the first signal that was heard, once more. */
  repeats(name: string): boolean {
    const at = this.#clock()
    if (this.#first === undefined) {
      this.#first = { name, at }
      return false
    }
    return this.#first.name === name && at - this.#first.at < echo
  }
}

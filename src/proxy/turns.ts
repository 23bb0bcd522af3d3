// Whose turn it is, where only so many may run at once: the first come, but each host has a few places that no other takes.

export interface TurnsOptions {
  /** Of all hosts together, but for those that a host has for itself. */
  readonly most: number
  /** So many of a host may always run. */
  readonly own: number
}

interface Waiting {
  readonly host: string
  readonly begin: () => void
}

export class Turns {
  readonly #options: TurnsOptions
  #running = 0
  readonly #runningOf = new Map<string, number>()
  /** In the order they came; none of them may run now. */
  readonly #waiting: Waiting[] = []

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** Runs a task when it is its turn. */
  async run<T>(host: string, task: () => Promise<T>): Promise<T> {
    if (this.#mayRun(host)) this.#count(host, 1)
    else await new Promise<void>((begin) => this.#waiting.push({ host, begin }))
    try {
      return await task()
    } finally {
      this.#count(host, -1)
      this.#callNext()
    }
  }

  #callNext(): void {
    for (;;) {
      const index = this.#waiting.findIndex(({ host }) => this.#mayRun(host))
      const [next] = index < 0 ? [] : this.#waiting.splice(index, 1)
      if (next === undefined) return
      this.#count(next.host, 1)
      next.begin()
    }
  }

  #mayRun(host: string): boolean {
    return this.#running < this.#options.most || (this.#runningOf.get(host) ?? 0) < this.#options.own
  }

  #count(host: string, change: 1 | -1): void {
    this.#running += change
    const running = (this.#runningOf.get(host) ?? 0) + change
    if (running > 0) this.#runningOf.set(host, running)
    else this.#runningOf.delete(host)
  }
}

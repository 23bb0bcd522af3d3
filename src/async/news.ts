// News for all who wait for them; what they are, each sees for itself.

export class News {
  #waiting: (() => void)[] = []
  #isComing = false

  /** Resolves when something is told, after this call. */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  tell(): void {
    const woken = this.#waiting
    this.#waiting = []
    for (const wake of woken) wake()
  }

  /** Tells once, when the system has no more for us at this time, however often it is called until then. */
  tellSoon(): void {
    if (this.#isComing) return
    this.#isComing = true
    setImmediate(() => {
      this.#isComing = false
      this.tell()
    })
  }
}

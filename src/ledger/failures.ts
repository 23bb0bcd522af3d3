// What could not be removed in one go through the store: one file that cannot be must not keep all others.

/** After so many in a row it is the disk, rather than a file. */
const most = 16

export class Failures {
  /** The first one, if any. */
  first: Error | undefined
  #row = 0

  /** Whether there is no use in going on. */
  get areTooMany(): boolean {
    return this.#row >= most
  }

  /** `what` cannot be removed where the removal fails. */
  async keep(what: string, removal: () => Promise<void>): Promise<void> {
    try {
      await removal()
      this.#row = 0
    } catch (cause) {
      this.#row++
      this.first ??= new Error(`${what} cannot be removed`, { cause })
    }
  }
}

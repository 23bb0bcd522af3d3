// Which blobs are being read or about to be linked, and which are being taken away: never both.
import type { Digest } from '../oci/digest.ts'

export class InUse {
  readonly #holds = new Map<Digest, number>()
  readonly #freeing = new Map<Digest, Promise<unknown>>()

  has(target: Digest): boolean {
    return this.#holds.has(target)
  }

  /** Idempotent to dispose. Bytes that are just being taken away may be gone before they can be used. */
  hold(target: Digest): Disposable {
    this.#holds.set(target, (this.#holds.get(target) ?? 0) + 1)
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return
        isHeld = false
        const left = (this.#holds.get(target) ?? 1) - 1
        if (left === 0) this.#holds.delete(target)
        else this.#holds.set(target, left)
      },
    }
  }

  /** As `hold`, and waits for the end of what takes the bytes away: what is here afterwards stays. */
  async claim(target: Digest): Promise<Disposable> {
    const hold = this.hold(target)
    await this.#freeing.get(target)
    return hold
  }

  /** Runs `task` where nobody uses the blob; whoever claims it meanwhile waits. `undefined` where somebody does. */
  async whileUnused<T>(target: Digest, task: () => Promise<T>): Promise<T | undefined> {
    if (this.has(target) || this.#freeing.has(target)) return undefined
    const run = task()
    this.#freeing.set(
      target,
      run.catch(() => {}), // whoever waits only waits
    )
    try {
      return await run
    } finally {
      this.#freeing.delete(target)
    }
  }
}

// Which blobs are being read or about to be linked, and which are being taken away: never both.
import type { Digest } from '../oci/digest.ts'

export class InUse {
  readonly #holds = new Map<Digest, number>()
  readonly #freeing = new Map<Digest, Promise<unknown>>()
  /** The holds of the sha256 of what is held by another digest. */
  readonly #targets = new Map<Digest, Disposable>()

  has(target: Digest): boolean {
    return this.#holds.has(target)
  }

  /**
   * Idempotent to dispose. Bytes that are just being taken away may be gone before they can be used. By another digest than
   * its sha256 a blob is held once it is known by that: `alias`.
   */
  hold(digest: Digest): Disposable {
    this.#holds.set(digest, (this.#holds.get(digest) ?? 0) + 1)
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return
        isHeld = false
        const left = (this.#holds.get(digest) ?? 1) - 1
        if (left > 0) return void this.#holds.set(digest, left)
        this.#holds.delete(digest)
        this.#targets.get(digest)?.[Symbol.dispose]()
        this.#targets.delete(digest)
      },
    }
  }

  /** Whoever holds `digest` holds `target`. */
  alias(digest: Digest, target: Digest): void {
    if (this.#holds.has(digest) && !this.#targets.has(digest)) this.#targets.set(digest, this.hold(target))
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

// Many callers, one run.
import { waitFor } from './wait.ts'

/**
 * Runs at most one task per key at a time. Callers that come while it runs share its outcome, an error too; the next
 * caller after its end starts anew. A caller's signal ends that caller's wait only, never the run.
 */
export class Coalescer<T> {
  readonly #running = new Map<string, Promise<T>>()

  async run(key: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let running = this.#running.get(key)
    if (running === undefined) {
      running = task().finally(() => this.#running.delete(key))
      running.catch(() => {}) // every waiter may have left; those who wait see the error
      this.#running.set(key, running)
    }
    return await waitFor(running, signal)
  }

  /** Whether a task of that key runs now. */
  has(key: string): boolean {
    return this.#running.has(key)
  }

  /** Waits until what runs now has ended, well or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running.values())
  }
}

// The least speed of a long body: one that drips never stands still for long enough to be idle, and would hold its
// connection for ever (P7).

/** Milliseconds over which the speed is looked at. */
const window = 30_000

/** Bytes that a window has to bring: 1 KiB a second. */
const leastPerWindow = 30 * 1024

/** The time that a reader takes for what it was given is not counted: only what is waited for can be late. */
export class Pace {
  readonly #clock: () => number
  #waitsSince: number
  #waited = 0
  #bytes = 0

  constructor(clock: () => number = (): number => performance.now()) {
    this.#clock = clock
    this.#waitsSince = clock()
  }

  /** Told of bytes that came. Says whether they come too slowly. */
  isTooSlow(bytes: number): boolean {
    this.#waited += this.#clock() - this.#waitsSince
    this.#bytes += bytes
    if (this.#waited < window) return false
    if (this.#bytes < leastPerWindow) return true
    this.#waited = 0
    this.#bytes = 0
    return false
  }

  /** Told that more is waited for from now on. */
  wait(): void {
    this.#waitsSince = this.#clock()
  }
}

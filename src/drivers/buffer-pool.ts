// Buffers that are used again: a fresh one costs its page faults, which is more than the read that fills it.

/** Buffers of one size. */
export interface Tier {
  /** Bytes of a buffer. */
  readonly size: number
  /** Bytes of all that are lent at once; beyond them the next tier's are lent. Of the last tier there is no end. */
  readonly most: number
  /** Bytes that wait for the next who asks. */
  readonly kept: number
}

interface Shelf extends Tier {
  readonly idle: Buffer[]
  lent: number
}

/** Lends buffers. Only their number at once is bounded by whoever asks, not their bytes: beyond the budget they are small. */
export class BufferPool {
  readonly #shelves: readonly Shelf[]

  /** Tiers from the largest buffers to the smallest. */
  constructor(tiers: readonly Tier[]) {
    this.#shelves = tiers.map((tier) => ({ ...tier, idle: [], lent: 0 }))
  }

  /** A buffer for a stream of `bytes`, with anything in it: none larger than it needs, where there is a smaller one. */
  take(bytes: number): Buffer {
    const shelf = this.#shelves.find(({ size, most, lent }, index) => {
      const next = this.#shelves[index + 1]
      return next === undefined || (bytes > next.size && lent + size <= most)
    })
    if (shelf === undefined) throw new Error('a pool without tiers')
    shelf.lent += shelf.size
    return shelf.idle.pop() ?? Buffer.allocUnsafeSlow(shelf.size)
  }

  /** Takes a lent buffer back; its bytes are overwritten from here on. */
  give(buffer: Buffer): void {
    const shelf = this.#shelves.find(({ size }) => size === buffer.byteLength)
    if (shelf === undefined) throw new Error('not a buffer of this pool')
    shelf.lent -= shelf.size
    if ((shelf.idle.length + 1) * shelf.size <= shelf.kept) shelf.idle.push(buffer)
  }
}

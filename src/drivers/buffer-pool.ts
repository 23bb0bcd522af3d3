// Buffers that are used again: a fresh one costs its page faults, which is more than the read that fills it.

export interface BufferPoolOptions {
  /** Bytes of a buffer, while memory is plentiful. */
  readonly large: number
  /** Bytes of a buffer for small things, and for all once `budget` is lent. */
  readonly small: number
  /** Bytes of large buffers that may be lent at once; about half as many are kept for the next who asks. */
  readonly budget: number
}

/** Lends buffers. Only their number at once is bounded by whoever asks, not their bytes: beyond the budget they are small. */
export class BufferPool {
  readonly #options: BufferPoolOptions
  readonly #large: Buffer[] = []
  readonly #small: Buffer[] = []
  #lent = 0

  constructor(options: BufferPoolOptions) {
    this.#options = options
  }

  /** A buffer for a stream of `bytes`, with anything in it. */
  take(bytes: number): Buffer {
    const { large, small, budget } = this.#options
    if (bytes <= small || this.#lent + large > budget) return this.#small.pop() ?? Buffer.allocUnsafeSlow(small)
    this.#lent += large
    return this.#large.pop() ?? Buffer.allocUnsafeSlow(large)
  }

  /** Whether a buffer is one of the plentiful kind, of which a stream may hold two. */
  isLarge(buffer: Buffer): boolean {
    return buffer.byteLength === this.#options.large
  }

  /** Takes a lent buffer back; its bytes are overwritten from here on. */
  give(buffer: Buffer): void {
    const { large, small, budget } = this.#options
    if (this.isLarge(buffer)) {
      this.#lent -= large
      if ((this.#large.length + 1) * large <= budget / 2) this.#large.push(buffer)
    } else if ((this.#small.length + 1) * small <= budget / 4) this.#small.push(buffer)
  }
}

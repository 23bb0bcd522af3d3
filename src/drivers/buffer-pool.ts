// Buffers that are used again: a fresh one costs its page faults, which is more than the read that fills it.

export interface BufferPoolOptions {
  /** Bytes of a buffer, while memory is plentiful. */
  readonly large: number
  /** Bytes of a buffer for small things, and for all once `budget` is lent. */
  readonly small: number
  /** Bytes of large buffers that may be lent at once; about half as many are kept for the next who asks. */
  readonly budget: number
}

/** A thousand who are slow hold a buffer each: once small ones take half a budget too, those are a quarter as large. */
const tiniest = 4

/** Lends buffers. Only their number at once is bounded by whoever asks, not their bytes: beyond the budget they are small. */
export class BufferPool {
  readonly #options: BufferPoolOptions
  /** Those that wait for the next who asks, by their size. */
  readonly #idle = new Map<number, Buffer[]>()
  /** Bytes that are lent, by the size of their buffers. */
  readonly #lent = new Map<number, number>()

  constructor(options: BufferPoolOptions) {
    this.#options = options
  }

  /** A buffer for a stream of `bytes`, with anything in it. */
  take(bytes: number): Buffer {
    const { large, small, budget } = this.#options
    if (bytes > small && this.#lentOf(large) + large <= budget) return this.#lend(large)
    return this.#lend(this.#lentOf(small) + small <= budget / 2 ? small : small / tiniest)
  }

  /** Whether a buffer is one of the plentiful kind, of which a stream may hold two. */
  isLarge(buffer: Buffer): boolean {
    return buffer.byteLength === this.#options.large
  }

  /** Takes a lent buffer back; its bytes are overwritten from here on. */
  give(buffer: Buffer): void {
    const { large, budget } = this.#options
    const size = buffer.byteLength
    this.#lent.set(size, this.#lentOf(size) - size)
    const idle = this.#idle.get(size) ?? []
    const most = size === large ? budget / 2 : budget / 8
    if ((idle.length + 1) * size <= most) idle.push(buffer)
    this.#idle.set(size, idle)
  }

  #lend(size: number): Buffer {
    this.#lent.set(size, this.#lentOf(size) + size)
    return this.#idle.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size)
  }

  #lentOf(size: number): number {
    return this.#lent.get(size) ?? 0
  }
}

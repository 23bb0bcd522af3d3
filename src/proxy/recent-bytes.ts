// The newest bytes of a stream, by offset.

/** Keeps what was pushed last, at least `limit` bytes of it and at most one chunk more. */
export class RecentBytes {
  readonly #limit: number
  readonly #chunks: Uint8Array[] = []
  #start: number
  #end: number

  /** `start`: the offset of the first byte that will be pushed. */
  constructor(limit: number, start: number = 0) {
    this.#limit = limit
    this.#start = start
    this.#end = start
  }

  /** The first byte that is here. */
  get start(): number {
    return this.#start
  }

  /** Behind the last byte that was pushed. */
  get end(): number {
    return this.#end
  }

  /** Also keeps what lies at `needed` and behind it, however much that is. */
  push(chunk: Uint8Array, needed: number = Infinity): void {
    this.#chunks.push(Buffer.from(chunk))
    this.#end += chunk.byteLength
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      const next = this.#start + first.byteLength
      if (this.#end - next < this.#limit || next > needed) break
      this.#start = next
      this.#chunks.shift()
    }
  }

  /** Forgets them all. */
  clear(): void {
    this.#chunks.length = 0
    this.#start = this.#end
  }

  /** Bytes from `offset` to the end of a chunk; `undefined` where they are not here, or not any more. */
  at(offset: number): Uint8Array | undefined {
    if (offset < this.#start || offset >= this.#end) return undefined
    let start = this.#end
    for (let index = this.#chunks.length - 1; index >= 0; index -= 1) {
      const chunk = this.#chunks[index]
      if (chunk === undefined) break
      start -= chunk.byteLength
      if (offset >= start) return chunk.subarray(offset - start)
    }
    return undefined
  }
}

// The newest bytes of a stream, by offset.

/** Keeps what was pushed last, at least `limit` bytes of it and at most one chunk more. */
export class RecentBytes {
  readonly #limit: number
  readonly #chunks: Uint8Array[] = []
  #start = 0
  #end = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** How many bytes were pushed in all. */
  get end(): number {
    return this.#end
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(Buffer.from(chunk))
    this.#end += chunk.byteLength
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      if (this.#end - this.#start - first.byteLength < this.#limit) break
      this.#start += first.byteLength
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

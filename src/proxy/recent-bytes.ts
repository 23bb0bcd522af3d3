// The newest bytes of a stream, by offset.

/** Bytes that stay as they are until it is disposed, once. */
export interface LentBytes extends Disposable {
  readonly bytes: Uint8Array
}

/** Bytes that are kept in one piece: whoever is behind takes them in one go. */
const pieceSize: number = 256 * 1024

interface Piece {
  /** Its room; bytes are only ever added to it, those that are there stay as they are while anybody may read them. */
  readonly room: Buffer
  used: number
  readers: number
  /** It is too old to be found. */
  isDropped: boolean
}

/**
 * Keeps what was pushed last, at least `limit` bytes of it and at most one piece more. The room of one that nobody sees any
 * more waits for the next: a new one costs its page faults and the collector's time.
 */
export class RecentBytes {
  readonly #limit: number
  readonly #pieces: Piece[] = []
  #spare: Buffer | undefined
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
    for (let taken = 0; taken < chunk.byteLength;) {
      const piece = this.#open(chunk.byteLength - taken)
      const part = chunk.subarray(taken, taken + piece.room.byteLength - piece.used)
      piece.room.set(part, piece.used)
      piece.used += part.byteLength
      taken += part.byteLength
    }
    this.#end += chunk.byteLength
    for (let first = this.#pieces[0]; first !== undefined; first = this.#pieces[0]) {
      const next = this.#start + first.used
      if (this.#end - next < this.#limit || next > needed) break
      this.#start = next
      this.#pieces.shift()
      first.isDropped = true
      this.#reuse(first)
    }
  }

  /** Forgets them all. */
  clear(): void {
    this.#pieces.length = 0
    this.#spare = undefined
    this.#start = this.#end
  }

  /** Lends bytes from `offset` to the end of a piece; `undefined` where they are not here, or not any more. */
  lend(offset: number): LentBytes | undefined {
    if (offset < this.#start || offset >= this.#end) return undefined
    let start = this.#end
    for (let index = this.#pieces.length - 1; index >= 0; index -= 1) {
      const piece = this.#pieces[index]
      if (piece === undefined) break
      start -= piece.used
      if (offset >= start) return this.#lent(piece, offset - start)
    }
    return undefined
  }

  #lent(piece: Piece, from: number): LentBytes {
    piece.readers += 1
    return {
      bytes: piece.room.subarray(from, piece.used),
      [Symbol.dispose]: () => {
        piece.readers -= 1
        this.#reuse(piece)
      },
    }
  }

  /** Its room, where nobody can see it any more. */
  #reuse({ room, readers, isDropped }: Piece): void {
    if (isDropped && readers === 0) this.#spare = room
  }

  /** A piece with room in it. */
  #open(wanted: number): Piece {
    const last = this.#pieces.at(-1)
    if (last !== undefined && last.used < last.room.byteLength) return last
    const size = Math.max(Math.min(pieceSize, this.#limit), wanted)
    const spare = this.#spare !== undefined && this.#spare.byteLength >= size ? this.#spare : undefined
    this.#spare = undefined
    const piece = { room: spare ?? Buffer.allocUnsafeSlow(size), used: 0, readers: 0, isDropped: false }
    this.#pieces.push(piece)
    return piece
  }
}

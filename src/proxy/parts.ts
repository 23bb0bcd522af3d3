// Several connections for one blob: each brings a part of it, and the parts are handed on in order.

/** Bytes that are handed on in one go: whoever takes them holds up nobody else for long. */
const mostAtOnce = 256 * 1024

/** `end` is exclusive. */
export interface PartRange {
  readonly start: number
  readonly end: number
}

export interface PartsPlan {
  readonly start: number
  /** Of the whole blob. */
  readonly size: number
  /** Of each part but the last. As many as twice the connections, without the first of them, are kept in memory. */
  readonly length: number
  /** Parts that come at once. */
  readonly connections: number
  /** The first part, which is on its way. */
  readonly first: AsyncGenerator<Uint8Array, void>
  readonly open: (range: PartRange, signal: AbortSignal) => AsyncGenerator<Uint8Array, void>
  /** Ends them all. */
  readonly signal: AbortSignal
}

/** A connection that has brought its part goes on with the next one, also while those before it are still handed on. */
export async function* inParts(plan: PartsPlan): AsyncGenerator<Uint8Array, void> {
  const { start, size, length, connections, open } = plan
  const stop = new AbortController()
  const signal = AbortSignal.any([plan.signal, stop.signal])
  const ahead: Ahead[] = []
  const rooms: Buffer[] = []
  let next = start + length
  let running = 1
  const proceed = (): void => {
    for (; running < connections && ahead.length < 2 * connections - 1 && next < size; next += length) {
      const range = { start: next, end: Math.min(next + length, size) }
      const part = new Ahead(open(range, signal), rooms.pop() ?? Buffer.allocUnsafeSlow(length))
      running += 1
      void part.settled.then(() => {
        running -= 1
        if (!signal.aborted) proceed()
      })
      ahead.push(part)
    }
  }
  try {
    proceed()
    yield* plan.first
    running -= 1
    for (let part = ahead[0]; part !== undefined; part = ahead[0]) {
      yield* part.chunks()
      rooms.push(part.room)
      ahead.shift()
      proceed()
    }
  } finally {
    stop.abort(new Error('the blob is not wanted any more'))
    await Promise.all(ahead.map(async (part) => await part.settled))
  }
}

/** A part that comes before its turn. */
class Ahead {
  /** Where its bytes lie, until they have been handed on. */
  readonly room: Buffer
  /** Resolves when nothing more comes, whatever the reason. */
  readonly settled: Promise<void>
  #received = 0
  #isWhole = false
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  /** `room` has place for all that the source brings. */
  constructor(source: AsyncIterable<Uint8Array>, room: Buffer) {
    this.room = room
    this.settled = this.#collect(source)
  }

  async *chunks(): AsyncGenerator<Uint8Array, void> {
    for (let taken = 0; ;) {
      const end = Math.min(this.#received, taken + mostAtOnce)
      if (end > taken) {
        yield this.room.subarray(taken, end)
        taken = end
      } else if (this.#failure !== undefined) throw this.#failure.error
      else if (this.#isWhole) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async #collect(source: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of source) {
        this.room.set(chunk, this.#received)
        this.#received += chunk.byteLength
        this.#wake?.()
      }
      this.#isWhole = true
    } catch (error) {
      this.#failure = { error }
    }
    this.#wake?.()
  }
}

// Several connections for one blob: each brings a part of it, and the parts are handed on in order.

/** `end` is exclusive. */
export interface PartRange {
  readonly start: number
  readonly end: number
}

export interface PartsPlan {
  readonly start: number
  /** Of the whole blob. */
  readonly size: number
  /** Of each part but the last. All but the first of those that run are kept in memory until their turn comes. */
  readonly length: number
  readonly connections: number
  /** The first part, which is on its way. */
  readonly first: AsyncGenerator<Uint8Array, void>
  readonly open: (range: PartRange, signal: AbortSignal) => AsyncGenerator<Uint8Array, void>
  /** Ends them all. */
  readonly signal: AbortSignal
}

export async function* inParts(plan: PartsPlan): AsyncGenerator<Uint8Array, void> {
  const { start, size, length, connections, open } = plan
  const stop = new AbortController()
  const signal = AbortSignal.any([plan.signal, stop.signal])
  const ahead: Ahead[] = []
  let next = start + length
  let head: AsyncIterable<Uint8Array> | undefined = plan.first
  try {
    while (head !== undefined) {
      for (; ahead.length < connections - 1 && next < size; next += length) {
        ahead.push(new Ahead(open({ start: next, end: Math.min(next + length, size) }, signal)))
      }
      yield* head
      head = ahead.shift()
    }
  } finally {
    stop.abort(new Error('the blob is not wanted any more'))
    await Promise.all(ahead.map(async (part) => await part.settled))
  }
}

/** A part that comes before its turn. */
class Ahead implements AsyncIterable<Uint8Array> {
  /** Resolves when nothing more comes, whatever the reason. */
  readonly settled: Promise<void>
  readonly #chunks: Buffer[] = []
  #isWhole = false
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(source: AsyncIterable<Uint8Array>) {
    this.settled = this.#collect(source)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) yield chunk
      else if (this.#failure !== undefined) throw this.#failure.error
      else if (this.#isWhole) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async #collect(source: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of source) {
        this.#chunks.push(Buffer.from(chunk))
        this.#wake?.()
      }
      this.#isWhole = true
    } catch (error) {
      this.#failure = { error }
    }
    this.#wake?.()
  }
}

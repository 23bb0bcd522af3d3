// A body that comes too slowly to be meant: a socket that moves a little now and then is never idle, and is held for ever.

/** Bytes that come at least in each time that a socket may be idle. A modem of 1990 brings this in a second. */
const least = 1024

export interface Pace {
  /** Milliseconds. */
  readonly period: number
  /** Ends the request; fails. */
  readonly cut: () => Promise<never>
}

export async function* pacedBody(
  body: AsyncIterable<Uint8Array>,
  { period, cut }: Pace,
): AsyncGenerator<Uint8Array, void> {
  const chunks = body[Symbol.asyncIterator]()
  let bytes = 0
  let waited = 0 // for the client: what we take our time for is not its fault
  try {
    while (true) {
      const since = performance.now()
      const next = await chunks.next()
      waited += performance.now() - since
      if (next.done === true) return
      bytes += next.value.byteLength
      if (waited >= period) {
        if (bytes < least) await cut()
        bytes = 0
        waited = 0
      }
      yield next.value
    }
  } finally {
    await chunks.return?.()
  }
}

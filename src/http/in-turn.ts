// Requests of one connection, one after the other: their answers leave in that order, and what one has changed the next
// one sees (RFC 9112 §9.3.2). What waits has not begun, so that it holds neither memory nor files.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that may wait on one connection. No client that we know sends a second one before it has its answer. */
const mostWaiting = 1000

/** Bytes of them, with heads and bodies, that have been read: all lie in memory. */
const mostBytes = 4 * 1024 * 1024

interface Waiting {
  /** `undefined` of what is no request. */
  readonly incoming: IncomingMessage | undefined
  /** Bytes that had been read of the connection when it came. */
  readonly at: number
  readonly begin: () => void
}

interface Line {
  /** Of the request that is being answered. */
  readonly response: ServerResponse
  readonly waiting: Waiting[]
}

export class InTurn {
  /** Of connections with a request that is being answered. */
  readonly #lines = new WeakMap<Socket, Line>()

  /** Calls `begin` when it is the request's turn, at once where none is before it. A connection with too many is cut. */
  enter(incoming: IncomingMessage, begin: () => void): void {
    const { socket } = incoming
    const line = this.#lines.get(socket)
    if (line === undefined) {
      begin()
      return
    }
    const at = socket.bytesRead
    const [next] = line.waiting
    const isTooMuch = line.waiting.length >= mostWaiting || (next !== undefined && at - next.at > mostBytes)
    if (isTooMuch) socket.destroy()
    else line.waiting.push({ incoming, at, begin })
  }

  /** The request that has come last, where it is being answered, or waits, and has not come whole. */
  findPartial(socket: Socket): IncomingMessage | undefined {
    const line = this.#lines.get(socket)
    const last = line?.waiting.at(-1)?.incoming ?? line?.response.req
    return last?.complete === false ? last : undefined
  }

  /**
   * Calls `begin` behind all requests that have come whole: no more will come. It takes the place of one that has not, unless
   * the answer to that has begun: then the connection is cut.
   */
  enterLast(socket: Socket, begin: () => void): void {
    const line = this.#lines.get(socket)
    const partial = this.findPartial(socket)
    if (line === undefined) begin()
    else if (line.response.req === partial) {
      if (line.response.headersSent) socket.destroy()
      else begin()
    } else {
      if (partial !== undefined) line.waiting.pop()
      line.waiting.push({ incoming: undefined, at: socket.bytesRead, begin })
    }
  }

  /** Has the others wait until `response`, which has begun and is not through, has left or was broken off. */
  hold(socket: Socket, response: ServerResponse): void {
    this.#lines.set(socket, { response, waiting: [] })
    response.once('close', () => {
      const { waiting = [] } = this.#lines.get(socket) ?? {}
      this.#lines.delete(socket)
      for (const [index, { begin }] of waiting.entries()) {
        if (socket.destroyed) return
        begin()
        const behind = this.#lines.get(socket)
        if (behind === undefined) continue
        behind.waiting.push(...waiting.slice(index + 1))
        return
      }
    })
  }
}

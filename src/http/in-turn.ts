// Requests of one connection, one after the other: their answers leave in that order, and what one has changed the next
// one sees (RFC 9112 §9.3.2). What waits has not begun, so that it holds neither memory nor files.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that may wait on one connection. No client that we know sends a second one before it has its answer. */
const mostWaiting = 1000

export class InTurn {
  /** Of connections with a request that is being answered: how to begin those behind it. */
  readonly #waiting = new WeakMap<Socket, (() => void)[]>()

  /** Calls `begin` when it is the request's turn, at once where none is before it. A connection with too many is cut. */
  enter(socket: Socket, begin: () => void): void {
    const waiting = this.#waiting.get(socket)
    if (waiting === undefined) begin()
    else if (waiting.length < mostWaiting) waiting.push(begin)
    else socket.destroy()
  }

  /** Has the others wait until `response`, which has begun and is not through, has left or was broken off. */
  hold(socket: Socket, response: ServerResponse): void {
    this.#waiting.set(socket, [])
    response.once('close', () => {
      const waiting = this.#waiting.get(socket) ?? []
      this.#waiting.delete(socket)
      for (const [index, begin] of waiting.entries()) {
        if (socket.destroyed) return
        begin()
        const behind = this.#waiting.get(socket)
        if (behind === undefined) continue
        behind.push(...waiting.slice(index + 1))
        return
      }
    })
  }
}

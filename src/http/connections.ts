// The connections of a server, and how they are closed: not while an answer leaves by them. To Node a connection is idle once
// its answer has been written, and where an answer is given that it does not know of (repeats.ts).
import type { Server } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'

export class Connections {
  readonly #server: Server | SecureServer
  /** By which answers are leaving that Node does not know of. */
  readonly #sending: ReadonlySet<Socket>
  /** All that stand. With TLS also each as it was accepted: until its handshake has ended, Node's own list has it not. */
  readonly #sockets = new Set<Socket>()
  /** Of which we hear when all has left. */
  readonly #awaited = new Set<Socket>()
  #isClosing = false

  constructor(server: Server | SecureServer, sending: ReadonlySet<Socket>) {
    this.#server = server
    this.#sending = sending
    for (const event of ['connection', 'secureConnection'] as const) {
      server.on(event, (socket: Socket) => {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      })
    }
  }

  /** Closes those that nothing is asked of, and nothing leaves by. */
  closeIdle(): void {
    const spared = [...this.#sending, ...this.#unsent()]
    for (const socket of spared) socket.destroy = () => socket // for as long as Node goes through its list
    this.#server.closeIdleConnections()
    for (const socket of spared) Reflect.deleteProperty(socket, 'destroy')
  }

  /**
   * Closes who has said nothing, which to Node has its first request on the way, who has had his last answer (unparsed.ts), and
   * all others once they are idle.
   */
  closeGently(): void {
    this.#isClosing = true
    this.settled()
    for (const socket of this.#sockets) {
      if (socket.bytesRead === 0) socket.destroy()
      else if (socket.writableEnded) socket.destroySoon()
    }
  }

  /** Is to be called when an answer has left: its connection may be idle now. */
  settled(): void {
    if (!this.#isClosing) return
    this.closeIdle()
    for (const socket of this.#unsent()) {
      // What has been ended closes by itself.
      if (!socket.writable || this.#sending.has(socket) || this.#awaited.has(socket)) continue
      this.#awaited.add(socket)
      // Called when all before it has left, or when it was broken off.
      socket.write('', (error) => {
        this.#awaited.delete(socket)
        if (error === null || error === undefined) this.settled()
      })
    }
  }

  cut(): void {
    this.#server.closeAllConnections()
    for (const socket of this.#sockets) socket.destroy()
  }

  #unsent(): Socket[] {
    return [...this.#sockets].filter(({ writableLength }) => writableLength > 0)
  }
}

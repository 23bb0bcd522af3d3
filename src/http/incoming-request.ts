// Node's request as plain data, and what a trusted proxy says of it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ClientGoneError, type Request } from './exchange.ts'
import { plainAddress, type Sender, type TrustedProxies } from './forwarded.ts'
import { pacedBody } from './paced-body.ts'

/** What is the same for all requests of a listener. */
export interface Place {
  readonly scheme: 'http' | 'https'
  /** Milliseconds. */
  readonly patience: number
  readonly trustedProxies: TrustedProxies | undefined
}

/** What a client sends that takes us for its proxy, or is one (RFC 9112 §3.2.2). */
const absoluteForm = /^https?:\/\/([^/?#]+)/i

export class IncomingRequest implements Request {
  readonly method: string
  readonly target: string
  readonly path: string
  readonly log: Record<string, unknown> = {}
  readonly #incoming: IncomingMessage
  readonly #response: ServerResponse
  readonly #search: string
  readonly #place: Place
  readonly #targetHost: string | undefined
  /** Read at once: a socket that is closed does not know it any more. */
  readonly #peer: string
  #awaitsContinue: boolean
  #sender: Sender | undefined
  #signal: AbortSignal | undefined

  /** `awaitsContinue`: the client wants to be told before it sends its body. */
  constructor(incoming: IncomingMessage, response: ServerResponse, place: Place, awaitsContinue: boolean) {
    let target = incoming.url ?? '/'
    if (!target.startsWith('/')) {
      const [whole, host] = absoluteForm.exec(target) ?? []
      this.#targetHost = host
      if (whole !== undefined) target = target.slice(whole.length).replace(/^(?!\/)/, '/')
    }
    const mark = target.indexOf('?')
    this.method = incoming.method ?? 'GET'
    this.target = target
    this.path = mark < 0 ? target : target.slice(0, mark)
    this.#search = mark < 0 ? '' : target.slice(mark + 1)
    this.#incoming = incoming
    this.#response = response
    this.#place = place
    this.#awaitsContinue = awaitsContinue
    this.#peer = plainAddress(incoming.socket.remoteAddress ?? '')
  }

  get address(): string {
    return this.#forwarded?.address ?? this.#peer
  }

  get scheme(): 'http' | 'https' {
    return this.#forwarded?.scheme ?? this.#place.scheme
  }

  get host(): string | undefined {
    return this.#forwarded?.host ?? this.#targetHost ?? this.#incoming.headers.host
  }

  get #forwarded(): Sender | undefined {
    this.#sender ??= this.#place.trustedProxies?.senderOf(this.#peer, this.#incoming.headers)
    return this.#sender
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#search)
  }

  get headers(): Request['headers'] {
    return this.#incoming.headers
  }

  get peer(): string {
    const { remotePort } = this.#incoming.socket
    if (this.#peer === '' || remotePort === undefined) return ''
    return `${this.#peer.includes(':') ? `[${this.#peer}]` : this.#peer}:${remotePort}`
  }

  /**
   * Whoever stops reading it early leaves the connection as it is: the answer goes out by it. A client that waits to be told
   * is told when the first byte is asked for: until then it can be refused without its body (RFC 9110 §10.1.1).
   */
  get body(): AsyncIterable<Uint8Array> {
    const chunks = { [Symbol.asyncIterator]: () => this.#read() }
    return pacedBody(chunks, { period: this.#place.patience, cut: async () => await this.#cut() })
  }

  #read(): AsyncIterator<Uint8Array> {
    if (this.#awaitsContinue && !this.#response.headersSent) this.#response.writeContinue()
    this.#awaitsContinue = false
    return this.#incoming.iterator({ destroyOnReturn: false })
  }

  /** Whether the client has sent nothing of its body, and was not told that it may. */
  get isHeldBack(): boolean {
    return this.#awaitsContinue && this.#incoming.readableLength === 0
  }

  /** As a client that leaves, which is what the handler hears of it. */
  async #cut(): Promise<never> {
    await new Promise((resolve) => this.#response.once('close', resolve).destroy())
    throw new ClientGoneError()
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController()
      if (this.#response.destroyed) controller.abort(new ClientGoneError())
      else {
        this.#response.once('close', () => {
          if (!this.#response.writableFinished) controller.abort(new ClientGoneError())
        })
      }
      this.#signal = controller.signal
    }
    return this.#signal
  }
}

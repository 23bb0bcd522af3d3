// A connection whose requests are looked at before they are parsed.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** A request as Node has parsed it, and its answer. */
export interface Exchange {
  readonly incoming: IncomingMessage
  readonly response: ServerResponse
}

export interface RepeatedConnectionOptions {
  /** Answers a chunk that is a request. Says whether it was; where its answer takes longer, resolves when that has left. */
  readonly give: (chunk: Buffer) => boolean | Promise<void>
  /** Called after such an answer, when what has come meanwhile is with the parser, or answered. */
  readonly onSent: () => void
}

const endOfHead = Buffer.from('\r\n\r\n')

export class RepeatedConnection {
  readonly #socket: Socket
  readonly #options: RepeatedConnectionOptions
  /** What the parser makes of the chunk that it is at. */
  #begun: Exchange[] | undefined
  /** Of the last chunk, where it ended one request and nothing else; until it is finished. */
  #answer: ServerResponse | undefined
  /** Whether the next byte is the first of a request, and the last answer has left. */
  #isBetween = false
  /** What takes the chunk that has come while an answer leaves. */
  #next: (() => void) | undefined
  #isSending = false

  constructor(socket: Socket, options: RepeatedConnectionOptions) {
    this.#socket = socket
    this.#options = options
  }

  began(exchange: Exchange): void {
    this.#begun?.push(exchange)
  }

  /**
   * Takes the place of Node's listener, which it calls. Where Node has paused the connection it does so when that goes on: from
   * then on Node leaves it to the stream to read, which takes itself to be reading.
   */
  listen(): void {
    if (this.#socket.isPaused()) {
      this.#socket.once('resume', () => this.listen())
      return
    }
    const [parse, ...others] = this.#socket.listeners('data')
    if (parse === undefined || others.length > 0) return
    this.#socket.removeAllListeners('data')
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk, () => parse(chunk)))
  }

  #take(chunk: Buffer, parse: () => void): void {
    if (this.#socket.destroyed) return // its parser may serve another connection by now
    if (this.#isSending) {
      this.#socket.pause() // so that there is one of them
      this.#next = () => this.#take(chunk, parse)
      return
    }
    const given = this.#isIdle() && this.#options.give(chunk)
    if (given === true) return
    if (given === false) this.#parse(chunk, parse)
    else void this.#wait(given)
  }

  #parse(chunk: Buffer, parse: () => void): void {
    this.#isBetween = false
    this.#answer = undefined
    this.#begun = []
    parse()
    const [one, ...more] = this.#begun
    this.#begun = undefined
    // It is whole, and what ends with it ends the chunk: nothing of a next one can be with the parser.
    if (one?.incoming.complete !== true || more.length > 0) return
    if (chunk.subarray(-endOfHead.byteLength).equals(endOfHead)) this.#await(one.response)
  }

  /** Does not hold on to it for longer: a connection may wait for its next request for hours, and there are many. */
  #await(response: ServerResponse): void {
    this.#answer = response
    response.once('finish', () => {
      if (this.#answer !== response) return // a chunk has come before
      this.#answer = undefined
      this.#isBetween = true
    })
  }

  /** Nothing that comes meanwhile is looked at, or parsed, before the answer has left. */
  async #wait(answer: Promise<void>): Promise<void> {
    this.#isSending = true
    await answer
    this.#isSending = false
    const next = this.#next
    this.#next = undefined
    if (next !== undefined) {
      this.#socket.resume() // before: its parser may pause it, and must not be given more then
      next()
    }
    this.#options.onSent()
  }

  /** Whether the next byte is the first of a request, whose answer can be sent, and nothing is to be sent before it. */
  #isIdle(): boolean {
    const { writable, writableLength } = this.#socket
    return this.#isBetween && writable && writableLength === 0
  }
}

// Requests that come again byte for byte, as those of many machines with the same software do. While the answer of a moment
// ago holds, they get its bytes, and are not parsed: node:http takes more for that than all the rest of an answer.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Logger } from '../telemetry/logger.ts'
import type { Reply, Request } from './exchange.ts'
import { plainAddress } from './forwarded.ts'

/** Bytes of the longest request that is remembered. */
const longest = 4096

/** Bytes of all requests that are remembered, and of their answers. */
const maxSize = 8 * 1024 * 1024

/** Bytes of a body that leaves in one piece with its head. */
const inOnePiece = 16 * 1024

/** What an entry costs besides its bytes. */
const overhead = 1024

/** Headers that node:http sends itself, unless a reply has them. */
const ofNode = /^(?:connection|date|keep-alive)$/i

const endOfHead = Buffer.from('\r\n\r\n')

export interface RepeatsOptions {
  readonly logger: Logger
  /** Milliseconds, as the server has it. */
  readonly keepAliveTimeout: number
  /** Milliseconds, likewise. */
  readonly idleTimeout: number
}

/** A request as Node has parsed it, and its answer. */
export interface Exchange {
  readonly incoming: IncomingMessage
  readonly response: ServerResponse
}

interface Answer {
  /** With the body, where that is short. */
  readonly head: Buffer
  readonly body: Uint8Array | undefined
  readonly size: number
  readonly holds: () => boolean
  /** Writes a request's line, of which all is known but who has asked, and how long it took. */
  readonly logger: Logger
}

export class Repeats {
  readonly #options: RepeatsOptions
  readonly #answers = new LRUCache<string, Answer>({ maxSize, sizeCalculation: ({ size }) => size })
  readonly #connections = new WeakMap<Socket, Connection>()
  #isStopped = false

  constructor(options: RepeatsOptions) {
    this.#options = options
  }

  /** Told of each request that was parsed. */
  began(exchange: Exchange): void {
    this.#connections.get(exchange.incoming.socket)?.began(exchange)
  }

  /** Remembers an answer that was given, `body` and all, and looks at what comes next on its connection. */
  remember({ incoming, response }: Exchange, { log }: Request, reply: Reply, body: Uint8Array): void {
    const { status, headers, holds } = reply
    if (status !== 200 || holds === undefined || this.#isStopped || !response.shouldKeepAlive) return
    const text = textOf(incoming)
    if (text === undefined) return
    if (this.#answers.get(text)?.holds() !== true) {
      if (Object.keys(headers).some((name) => ofNode.test(name))) return
      const bytes = body.byteLength
      const head = Buffer.from(headOf(headers, bytes, this.#options.keepAliveTimeout), 'latin1')
      const isShort = bytes <= inOnePiece
      this.#answers.set(text, {
        head: isShort ? Buffer.concat([head, body]) : head,
        body: isShort ? undefined : body,
        size: text.length + head.byteLength + bytes + overhead,
        holds,
        logger: this.#options.logger.child({ method: 'GET', ...log, status, bytes }),
      })
    }
    const { socket } = incoming
    if (this.#connections.has(socket)) return
    const connection = new Connection(socket, (chunk, client) => this.#give(chunk, socket, client))
    this.#connections.set(socket, connection)
    process.nextTick(() => connection.listen()) // not while its parser is at work
  }

  /** From now on every request is parsed. */
  stop(): void {
    this.#isStopped = true
    this.#answers.clear()
  }

  /** Answers what is a request that is known. Says whether it was. */
  #give(chunk: Buffer, socket: Socket, client: string): boolean {
    if (chunk.byteLength > longest) return false
    const startedAt = performance.now()
    const text = chunk.toString('latin1')
    const answer = this.#answers.get(text)
    if (answer === undefined) return false
    if (!answer.holds()) {
      this.#answers.delete(text)
      return false
    }
    const { head, body } = answer
    if (body === undefined) socket.write(head)
    else {
      socket.cork()
      socket.write(head)
      socket.write(body)
      socket.uncork()
    }
    // Its connection waits for more than the next request now; after the next that is parsed Node sets it back.
    if (socket.writableLength > 0) socket.setTimeout(this.#options.idleTimeout)
    answer.logger.info({ client, ms: Math.round((performance.now() - startedAt) * 10) / 10 }, 'request')
    return true
  }
}

/** A connection whose requests are looked at before they are parsed. */
class Connection {
  readonly #socket: Socket
  readonly #give: (chunk: Buffer, client: string) => boolean
  readonly #client: string
  /** What the parser makes of the chunk that it is at. */
  #begun: Exchange[] | undefined
  /** Of the last chunk, where it ended one request and nothing else; until it is finished. */
  #answer: ServerResponse | undefined
  /** Whether the next byte is the first of a request, and the last answer has left. */
  #isBetween = false

  constructor(socket: Socket, give: (chunk: Buffer, client: string) => boolean) {
    this.#socket = socket
    this.#give = give
    this.#client = plainAddress(socket.remoteAddress ?? '')
  }

  began(exchange: Exchange): void {
    this.#begun?.push(exchange)
  }

  /** Takes the place of Node's listener, which it calls. */
  listen(): void {
    const [parse, ...others] = this.#socket.listeners('data')
    if (parse === undefined || others.length > 0) return
    this.#socket.removeAllListeners('data')
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk, () => parse(chunk)))
  }

  #take(chunk: Buffer, parse: () => void): void {
    if (this.#socket.destroyed) return // its parser may serve another connection by now
    if (this.#isIdle() && this.#give(chunk, this.#client)) return
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

  /** Whether the next byte is the first of a request, whose answer can be sent, and nothing is to be sent before it. */
  #isIdle(): boolean {
    const { writable, writableLength } = this.#socket
    return this.#isBetween && writable && writableLength === 0
  }
}

/** A request as it would be sent, if that is how it was; `undefined` where it says more than what it asks for. */
function textOf({ method, url, httpVersion, headers, rawHeaders }: IncomingMessage): string | undefined {
  if (method !== 'GET' || httpVersion !== '1.1' || rawHeaders.length > 100) return undefined
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) return undefined
  if (headers.upgrade !== undefined || headers.expect !== undefined) return undefined
  let text = `GET ${url} HTTP/1.1\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) text += `${rawHeaders[at]}: ${rawHeaders[at + 1]}\r\n`
  text += '\r\n'
  return text.length > longest ? undefined : text
}

/** As node:http writes it. */
function headOf(headers: OutgoingHttpHeaders, length: number, keepAliveTimeout: number): string {
  const lines = ['HTTP/1.1 200 OK']
  const all = headers['content-length'] === undefined ? { 'content-length': length, ...headers } : headers
  for (const [name, value] of Object.entries(all)) {
    for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${one}`)
  }
  lines.push(`Date: ${new Date().toUTCString()}`, 'Connection: keep-alive')
  if (keepAliveTimeout > 0) lines.push(`Keep-Alive: timeout=${Math.floor(keepAliveTimeout / 1000)}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

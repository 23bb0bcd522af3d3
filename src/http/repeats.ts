// Requests that come again byte for byte, as those of many machines with the same software do. While the answer of a moment
// ago holds, they get its bytes, and are not parsed: node:http takes more for that than all the rest of an answer.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { ByteStream } from '../bytes/stream.ts'
import type { Logger } from '../telemetry/logger.ts'
import { answerHead } from './answer-head.ts'
import type { Reply, Request } from './exchange.ts'
import { plainAddress } from './forwarded.ts'
import { RepeatedConnection, type Exchange } from './repeated-connection.ts'
import { logRequest, since } from './request-log.ts'
import type { Sent } from './response-target.ts'
import { sendBody, type SendOptions } from './send.ts'

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

export interface RepeatsOptions {
  readonly logger: Logger
  /** Milliseconds, as the server has it. */
  readonly keepAliveTimeout: number
  /** Milliseconds, likewise. */
  readonly idleTimeout: number
  readonly sending: SendOptions
  /** Called when an answer has left that Node did not know of: its connection is idle now. */
  readonly onSent: () => void
}

interface Answer {
  /** With the body, where that is short. */
  readonly head: Buffer
  readonly body: Uint8Array | undefined
  readonly again: ByteStream['again']
  /** Of the body. */
  readonly bytes: number
  /** Bytes that are remembered. */
  readonly size: number
  readonly holds: () => boolean
  /** Writes a request's line, of which all is known but who has asked, and how long it took. */
  readonly logger: Logger
}

/** Who has asked, and when, of `performance.now()`. */
interface Asked {
  readonly socket: Socket
  readonly client: string
  readonly startedAt: number
}

export class Repeats {
  readonly #options: RepeatsOptions
  /** Lines of an answer's head. */
  readonly #connection: readonly string[]
  readonly #answers = new LRUCache<string, Answer>({ maxSize, sizeCalculation: ({ size }) => size })
  readonly #connections = new WeakMap<Socket, RepeatedConnection>()
  readonly #sending = new Set<Socket>()
  #isStopped = false

  constructor(options: RepeatsOptions) {
    this.#options = options
    const { keepAliveTimeout } = options
    const kept = keepAliveTimeout > 0 ? [`Keep-Alive: timeout=${Math.floor(keepAliveTimeout / 1000)}`] : []
    this.#connection = ['Connection: keep-alive', ...kept]
  }

  /** By which answers are leaving that Node does not know of. */
  get sending(): ReadonlySet<Socket> {
    return this.#sending
  }

  /** Told of each request that was parsed. */
  began(exchange: Exchange): void {
    this.#connections.get(exchange.incoming.socket)?.began(exchange)
  }

  /** Remembers an answer that was given, `body` and all, and looks at what comes next on its connection. */
  remember({ incoming, response }: Exchange, { log }: Request, reply: Reply, body: Uint8Array | ByteStream): void {
    const { status, headers, holds } = reply
    if (status !== 200 || holds === undefined || this.#isStopped || !response.shouldKeepAlive) return
    const text = textOf(incoming)
    if (text === undefined) return
    if (this.#answers.get(text)?.holds() !== true) {
      if (Object.keys(headers).some((name) => ofNode.test(name))) return
      const isHere = body instanceof Uint8Array
      const bytes = isHere ? body.byteLength : Number(headers['content-length'])
      const head = Buffer.from(answerHead({ status, headers, length: bytes, connection: this.#connection }), 'latin1')
      const isShort = isHere && bytes <= inOnePiece
      this.#answers.set(text, {
        head: isShort ? Buffer.concat([head, body]) : head,
        body: isShort || !isHere ? undefined : body,
        again: isHere ? undefined : body.again,
        bytes,
        size: text.length + head.byteLength + (isHere ? bytes : 0) + overhead,
        holds,
        logger: this.#options.logger.child({ method: 'GET', ...log, status }),
      })
    }
    const { socket } = incoming
    if (this.#connections.has(socket)) return
    const client = plainAddress(socket.remoteAddress ?? '')
    const connection = new RepeatedConnection(socket, {
      give: (chunk) => this.#give(chunk, socket, client),
      onSent: () => {
        this.#sending.delete(socket)
        this.#options.onSent()
      },
    })
    this.#connections.set(socket, connection)
    process.nextTick(() => connection.listen()) // not while its parser is at work
  }

  /** From now on every request is parsed. */
  stop(): void {
    this.#isStopped = true
    this.#answers.clear()
  }

  /** Answers what is a request that is known. Says whether it was, and where the body takes longer when it has left. */
  #give(chunk: Buffer, socket: Socket, client: string): boolean | Promise<void> {
    if (chunk.byteLength > longest) return false
    const startedAt = performance.now()
    const text = chunk.toString('latin1')
    const answer = this.#answers.get(text)
    if (answer === undefined) return false
    const asked = { socket, client, startedAt }
    if (answer.holds()) {
      if (answer.again === undefined) return this.#write(answer, asked)
      const body = answer.again()
      if (body !== undefined) return this.#send(answer, body, asked)
    }
    this.#answers.delete(text)
    return false
  }

  #write({ head, body, bytes, logger }: Answer, { socket, client, startedAt }: Asked): true {
    if (body === undefined) socket.write(head)
    else {
      socket.cork()
      socket.write(head)
      socket.write(body)
      socket.uncork()
    }
    // Its connection waits for more than the next request now; after the next that is parsed Node sets it back.
    if (socket.writableLength > 0) socket.setTimeout(this.#options.idleTimeout)
    logRequest(logger, { bytes, client, ms: since(startedAt) }, 200, undefined)
    return true
  }

  /** Does not fail. Counts until its connection says that what comes next is looked at. */
  async #send({ head, bytes, logger }: Answer, body: ByteStream, { socket, client, startedAt }: Asked): Promise<void> {
    const { idleTimeout, sending } = this.#options
    const sent: Sent = { bytes: 0 }
    let failure: unknown
    this.#sending.add(socket)
    try {
      await using stream = body
      const { timeout = 0 } = socket
      socket.setTimeout(idleTimeout)
      socket.write(head)
      await sendBody(stream, { answer: socket, length: bytes }, sent, sending)
      socket.setTimeout(timeout)
    } catch (error) {
      failure = error
      socket.destroy()
    }
    logRequest(logger, { ...sent, client, ms: since(startedAt) }, 200, failure)
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

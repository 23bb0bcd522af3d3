// A client that keeps its connection and compares every byte that comes with the one that should: cheaper than hashing on
// a machine that client and server share, and as sure, for the digest in the path was made of the same bytes.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls'
import { isPartOf, seeded, type Read } from '../test/support/outside/objects.ts'

/** What a body must be: a text, or the bytes of a seed in hex. */
export type Body = { readonly text: string } | { readonly seed: string; readonly size: number }

export interface Target {
  /** From `/v2/` on. */
  readonly path: string
  /** `undefined`: whatever comes with status 200. */
  readonly body: Body | undefined
}

export interface Answer {
  readonly size: number
  /** Of the body, in milliseconds from the request on. */
  readonly firstByte: number
  readonly took: number
  /** Bytes before the body. */
  readonly headSize: number
}

export const accept = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json'

/** What clients offer that are written in Go, as most of a registry's are: it is the server that chooses. */
const cipherSuites = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'

/** For `https`. @param authority who signs the certificates of servers, in PEM */
export function trusting(authority: string): SecureContext {
  return createSecureContext({ ca: authority, ciphers: cipherSuites })
}

/** Bytes in which the head of an answer ends. */
const longestHead = 16 * 1024

/** One buffer for all sockets: a read is over before the next begins. */
const buffer = Buffer.allocUnsafe(512 * 1024)

interface Expected {
  readonly size: number
  isRight(bytes: Buffer, at: number): boolean
}

interface Running {
  readonly target: Target
  readonly began: number
  readonly done: PromiseWithResolvers<Answer>
  readonly onBegun: (() => void) | undefined
}

export class Connection implements Disposable {
  readonly #url: string
  readonly #socket: Socket
  readonly #expected = new Map<Body, Expected>()
  #running: Running | undefined
  #head = ''
  #headSize = 0
  #size = -1
  #at = 0
  #firstByte = 0

  private constructor(url: string, socket: Socket) {
    this.#url = url
    this.#socket = socket
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection was closed')))
  }

  /** @param secureContext for `https` */
  static async open(url: string, secureContext?: SecureContext): Promise<Connection> {
    const { protocol, hostname, port } = new URL(url)
    const isSecure = protocol === 'https:'
    const onread = {
      buffer,
      callback: (length: number) => {
        connection.#read(buffer.subarray(0, length))
        return true
      },
    }
    const options = { host: hostname, port: Number(port), noDelay: true, onread }
    const socket: Socket = isSecure ? connectTls({ ...options, secureContext }) : connect(options)
    const connection = new Connection(url, socket)
    await once(socket, isSecure ? 'secureConnect' : 'connect')
    return connection
  }

  /** One after another. @throws Error where the answer is not 200, not whole or not what it must be */
  async get(target: Target, onBegun?: () => void): Promise<Answer> {
    const running = { target, began: performance.now(), done: Promise.withResolvers<Answer>(), onBegun }
    this.#running = running
    this.#head = ''
    this.#size = -1
    this.#at = 0
    this.#firstByte = 0
    this.#socket.write(`GET ${target.path} HTTP/1.1\r\nhost: bench\r\naccept: ${accept}\r\n\r\n`)
    return await running.done.promise
  }

  [Symbol.dispose](): void {
    this.#running = undefined
    this.#socket.destroy()
  }

  #read(bytes: Buffer): void {
    const running = this.#running
    if (running === undefined) return
    if (this.#size >= 0) {
      this.#take(running, bytes)
      return
    }
    const before = this.#head.length
    this.#head += bytes.toString('latin1', 0, longestHead) // not all of the body that may have come with it
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) return
    const rest = bytes.subarray(end + 4 - before)
    const head = this.#head.slice(0, end)
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
      this.#fail(new Error(`${this.#url}${running.target.path}: ${head} ${rest.toString().slice(0, 500)}`))
      return
    }
    this.#size = Number(length)
    this.#headSize = end + 4
    running.onBegun?.()
    this.#take(running, rest)
  }

  #take({ target, began, done }: Running, bytes: Buffer): void {
    const expected = target.body === undefined ? undefined : this.#expectedOf(target.body)
    const isTooLong = this.#at + bytes.byteLength > (expected?.size ?? this.#size)
    if (isTooLong || this.#size !== (expected?.size ?? this.#size) || expected?.isRight(bytes, this.#at) === false) {
      this.#fail(new Error(`${this.#url}${target.path}: wrong bytes at ${this.#at}`))
      return
    }
    if (this.#at === 0 && bytes.byteLength > 0) this.#firstByte = performance.now() - began
    this.#at += bytes.byteLength
    if (this.#at < this.#size) return
    this.#running = undefined
    const took = performance.now() - began
    done.resolve({ size: this.#size, firstByte: this.#firstByte, took, headSize: this.#headSize })
  }

  #expectedOf(body: Body): Expected {
    const known = this.#expected.get(body) ?? expectedOf(body)
    this.#expected.set(body, known)
    return known
  }

  #fail(error: Error): void {
    this.#running?.done.reject(error)
    this.#running = undefined
    this.#socket.destroy()
  }
}

/** Blocks of a megabyte: one for each seed, and not for each connection. */
const reads = new Map<string, Read>()

function expectedOf(body: Body): Expected {
  if ('text' in body) {
    const whole = Buffer.from(body.text)
    return {
      size: whole.length,
      isRight: (bytes, at) => whole.subarray(at, at + bytes.byteLength).equals(bytes),
    }
  }
  const read = reads.get(body.seed) ?? seeded(Buffer.from(body.seed, 'hex'))
  if (reads.size > 20) reads.clear()
  reads.set(body.seed, read)
  return { size: body.size, isRight: (bytes, at) => isPartOf(read, bytes, at) }
}

// A client that costs next to nothing, for tests with hundreds of them in one process: one GET on a bare socket.
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { deferred } from '../../src/async/deferred.ts'

export interface LightPullOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Milliseconds after which the client gives up. */
  readonly patience?: number | undefined
  /** Called with how many bytes have come just now. */
  readonly onBytes?: ((count: number) => void) | undefined
  /** Bytes of the body after which it hangs up. */
  readonly hangUpAfter?: number | undefined
}

export interface LightAnswer {
  /** 0: none came. */
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly size: number
  /** Of the bytes that came. */
  readonly digest: string
  /** Whether the body ended as the answer's own framing says it must. */
  readonly complete: boolean
  readonly gaveUp: boolean
  /** How long it took, in milliseconds. */
  readonly took: number
}

export interface LightPull {
  /** Resolves when the headers have come. */
  readonly begun: Promise<void>
  /** Resolves when a byte of the body has come. */
  readonly firstByte: Promise<void>
  readonly done: Promise<LightAnswer>
  /** Hangs up. */
  leave(): void
}

/** One buffer for all sockets: a read is over before the next begins. */
const buffer = Buffer.allocUnsafe(256 * 1024)

export function lightPull(
  url: string,
  { headers = {}, patience, onBytes: tell, hangUpAfter }: LightPullOptions = {},
): LightPull {
  const { hostname, port, pathname } = new URL(url)
  const begun = deferred()
  const firstByte = deferred()
  const done = deferred<LightAnswer>()
  const hash = createHash('sha256')
  const began = performance.now()
  let head: Head | undefined
  let text = ''
  let size = 0
  let gaveUp = false
  let hasEnded = false
  let hasFailed = false
  const onBytes = (bytes: Uint8Array): void => {
    if (bytes.byteLength === 0) return
    firstByte.resolve()
    hash.update(bytes)
    size += bytes.byteLength
    tell?.(bytes.byteLength)
    if (hangUpAfter !== undefined && size >= hangUpAfter) socket.destroy()
  }
  const chunks = new Chunks(onBytes)
  const onBody = (bytes: Uint8Array): void => (head?.isChunked === true ? chunks.push(bytes) : onBytes(bytes))
  const onRead = (length: number): boolean => {
    const bytes = buffer.subarray(0, length)
    if (head !== undefined) onBody(bytes)
    else {
      text += bytes.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end >= 0) {
        head = parseHead(text.slice(0, end))
        begun.resolve()
        onBody(Buffer.from(text.slice(end + 4), 'latin1'))
      }
    }
    return true
  }
  const socket = connect({ host: hostname, port: Number(port), onread: { buffer, callback: onRead } })
  const asked = Object.entries({ host: hostname, connection: 'close', ...headers })
  socket.write(`GET ${pathname} HTTP/1.1\r\n${asked.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
  const giveUp = (): void => {
    gaveUp = true
    socket.destroy()
  }
  const timer = patience === undefined ? undefined : setTimeout(giveUp, patience)
  socket.on('end', () => (hasEnded = true))
  socket.on('error', () => (hasFailed = true)) // the connection was cut; what came is compared below
  socket.on('close', () => {
    clearTimeout(timer)
    begun.reject(new Error('no answer came'))
    firstByte.reject(new Error('no byte came'))
    const isWhole = (): boolean => {
      if (head === undefined) return false
      if (head.isChunked) return chunks.isOver
      return head.length === undefined ? hasEnded && !hasFailed : size === head.length
    }
    done.resolve({
      status: head?.status ?? 0,
      headers: head?.headers ?? new Map(),
      size,
      digest: `sha256:${hash.digest('hex')}`,
      complete: isWhole(),
      gaveUp,
      took: performance.now() - began,
    })
  })
  return { begun: begun.promise, firstByte: firstByte.promise, done: done.promise, leave: () => socket.destroy() }
}

interface Head {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly isChunked: boolean
  readonly length: number | undefined
}

function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n')
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const length = headers.get('content-length')
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(first)?.[1] ?? 0),
    headers,
    isChunked: headers.get('transfer-encoding') === 'chunked',
    length: length === undefined ? undefined : Number(length),
  }
}

/** The bytes of a body that comes in chunks (RFC 9112 §7.1). */
class Chunks {
  readonly #onBytes: (bytes: Uint8Array) => void
  #line = ''
  /** Bytes that are left of the chunk, and the two behind it. */
  #left = 0
  isOver = false

  constructor(onBytes: (bytes: Uint8Array) => void) {
    this.#onBytes = onBytes
  }

  push(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.byteLength && !this.isOver) {
      if (this.#left > 0) {
        const end = Math.min(bytes.byteLength, at + this.#left)
        this.#onBytes(bytes.subarray(at, Math.min(end, at + Math.max(0, this.#left - 2))))
        this.#left -= end - at
        at = end
      } else {
        this.#line += String.fromCharCode(bytes[at++] ?? 0)
        if (!this.#line.endsWith('\r\n')) continue
        const length = Number.parseInt(this.#line, 16)
        this.#line = ''
        this.isOver = length === 0
        this.#left = length + 2
      }
    }
  }
}

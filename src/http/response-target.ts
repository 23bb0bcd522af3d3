// Where the bytes of an answer's body go: written to its response, or sent by the system past it.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ByteTarget, SendableFile } from '../bytes/stream.ts'
import { ClientGoneError } from './exchange.ts'
import type { Connection, Sendfile } from './sendfile.ts'

/** How far a reply has come; true also where it comes no further. */
export interface Sent {
  /** Of the body. */
  bytes: number
}

/** A response, or where Node knows of none the socket that its answer leaves by. */
export type Outgoing = ServerResponse | Socket

export interface TargetOptions {
  readonly sendfile?: Pick<Sendfile, 'connect'> | undefined
  /** Whether its head has a Content-Length: what is written then leaves as it is. */
  readonly isPromised: boolean
  /** Bytes that the connection is handed in one go; of a chunk all. */
  readonly most?: (() => number) | undefined
}

/** Of an answer whose head has been written. What has been taken is counted in `sent`. */
export class ResponseTarget implements ByteTarget, Disposable {
  readonly #answer: Outgoing
  readonly #sent: Sent
  readonly #options: TargetOptions
  #connection: Connection | undefined
  #fail: ((reason: Error) => void) | undefined

  constructor(answer: Outgoing, sent: Sent, options: TargetOptions) {
    this.#answer = answer
    this.#sent = sent
    this.#options = options
    answer.once('close', this.#onClose)
  }

  /** @throws ClientGoneError */
  async sendFile(file: SendableFile, position: number, length: number): Promise<number> {
    if (this.#answer.destroyed) throw new ClientGoneError()
    const socket = this.#socket()
    // What was written before has to leave before. Where the socket has ended, the head has stayed with the response.
    if (socket === null || socket.writableLength > 0 || !socket.writable) return 0
    this.#connection ??= this.#options.sendfile?.connect(socket)
    if (this.#connection === undefined) return 0
    const taken = await this.#connection.send(file, position, length)
    this.#sent.bytes += taken
    if (taken > 0 && socket.timeout !== undefined) socket.setTimeout(socket.timeout) // it is not idle
    return taken
  }

  /**
   * Resolves when the connection has taken all of them. Not async, and past the response where that may be: a crowd calls it
   * ten thousands of times, and what each call leaves behind adds up.
   * @throws ClientGoneError
   */
  write(bytes: Uint8Array): Promise<void> {
    const answer = this.#answer
    const { isPromised, most } = this.#options
    const socket = isPromised ? this.#socket() : null
    const to = socket?.writable === true ? socket : answer // where the socket has ended, the head has stayed with the response
    return new Promise((resolve, reject) => {
      this.#fail = reject
      let at = 0
      let size = 0
      const goOn = (): void => {
        if (at === bytes.byteLength) resolve()
        else if (answer.destroyed || !to.writable) reject(new ClientGoneError())
        else {
          const piece = most === undefined ? bytes : bytes.subarray(at, at + most())
          size = piece.byteLength
          to.write(piece, onTaken)
        }
      }
      const onTaken = (error?: Error | null): void => {
        if (error) {
          reject(new ClientGoneError())
          return
        }
        at += size
        this.#sent.bytes += size
        process.nextTick(goOn) // at once, Node would encrypt until the connection takes no more, and hear nobody else
      }
      goOn()
    })
  }

  [Symbol.dispose](): void {
    this.#answer.off('close', this.#onClose)
    this.#connection?.[Symbol.dispose]()
  }

  /** `null` of a response that waits for another one on its connection, or has lost it. */
  #socket(): Socket | null {
    const answer = this.#answer
    return 'socket' in answer ? answer.socket : answer
  }

  readonly #onClose = (): void => this.#fail?.(new ClientGoneError())
}

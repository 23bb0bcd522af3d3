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

/** Of an answer whose head has been written, with a Content-Length. What has been taken is counted in `sent`. */
export class ResponseTarget implements ByteTarget, Disposable {
  readonly #answer: Outgoing
  readonly #sent: Sent
  readonly #sendfile: Pick<Sendfile, 'connect'> | undefined
  #connection: Connection | undefined
  #fail: ((reason: Error) => void) | undefined

  constructor(answer: Outgoing, sent: Sent, sendfile?: Pick<Sendfile, 'connect'>) {
    this.#answer = answer
    this.#sent = sent
    this.#sendfile = sendfile
    answer.once('close', this.#onClose)
  }

  /** @throws ClientGoneError */
  async sendFile(file: SendableFile, position: number, length: number): Promise<number> {
    if (this.#answer.destroyed) throw new ClientGoneError()
    const socket = this.#socket()
    // What was written before has to leave before. Where the socket has ended, the head has stayed with the response.
    if (socket === null || socket.writableLength > 0 || !socket.writable) return 0
    this.#connection ??= this.#sendfile?.connect(socket)
    if (this.#connection === undefined) return 0
    const taken = await this.#connection.send(file, position, length)
    this.#sent.bytes += taken
    if (taken > 0 && socket.timeout !== undefined) socket.setTimeout(socket.timeout) // it is not idle
    return taken
  }

  /** Not async: with TLS it is called for each 16 KiB. @throws ClientGoneError */
  write(bytes: Uint8Array): Promise<void> {
    const answer = this.#answer
    // Past the response, too, what is written leaves as it is: its length was promised.
    const to = this.#connection === undefined ? answer : (this.#socket() ?? answer)
    return new Promise((resolve, reject) => {
      if (answer.destroyed) {
        reject(new ClientGoneError())
        return
      }
      this.#fail = reject
      to.write(bytes, (error) => {
        if (error) {
          reject(new ClientGoneError())
          return
        }
        this.#sent.bytes += bytes.byteLength
        resolve()
      })
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

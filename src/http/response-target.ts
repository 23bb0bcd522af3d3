// Where the bytes of an answer's body go: written to its response, or sent by the system past it.
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { ByteTarget, SendableFile } from '../bytes/stream.ts'
import { ClientGoneError } from './exchange.ts'
import type { Connection, Sendfile } from './sendfile.ts'

/** How far a reply has come; true also where it comes no further. */
export interface Sent {
  /** Of the body. */
  bytes: number
}

/** Of an answer whose head has been written, with a Content-Length. What has been taken is counted in `sent`. */
export class ResponseTarget implements ByteTarget, Disposable {
  readonly isEncrypted: boolean
  readonly #answer: Writable
  readonly #socket: Socket | null
  readonly #sent: Sent
  readonly #connection: Connection | undefined
  #fail: ((reason: Error) => void) | undefined

  /** `answer`: a response, or where Node knows of none its socket. */
  constructor(answer: Writable, socket: Socket | null, sent: Sent, sendfile?: Pick<Sendfile, 'connect'>) {
    this.isEncrypted = socket !== null && 'encrypted' in socket
    this.#answer = answer
    this.#socket = socket
    this.#sent = sent
    // Where the socket has ended, the head has stayed with the response, and nothing may leave without it.
    const canConnect = socket !== null && socket.writable && !this.isEncrypted
    this.#connection = canConnect ? sendfile?.connect(socket) : undefined
    answer.once('close', this.#onClose)
  }

  /** Whether the system can be asked to send files. */
  get isDirect(): boolean {
    return this.#connection !== undefined
  }

  /** @throws ClientGoneError */
  async sendFile(file: SendableFile, position: number, length: number): Promise<number> {
    if (this.#answer.destroyed) throw new ClientGoneError()
    const socket = this.#socket
    // What was written before has to leave before.
    if (this.#connection === undefined || socket === null || socket.writableLength > 0) return 0
    const taken = await this.#connection.send(file, position, length)
    this.#sent.bytes += taken
    if (taken > 0 && socket.timeout !== undefined) socket.setTimeout(socket.timeout) // it is not idle
    return taken
  }

  /** Not async: with TLS it is called for each 16 KiB. @throws ClientGoneError */
  write(bytes: Uint8Array): Promise<void> {
    const answer = this.#answer
    // Past the response, too, what is written leaves as it is: its length was promised.
    const to = this.#connection === undefined ? answer : (this.#socket ?? answer)
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

  readonly #onClose = (): void => this.#fail?.(new ClientGoneError())
}

// A client that says what it likes, in whatever pieces.
import { connect, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import type { Listener } from '../../src/http/listener.ts'

/** Sends pieces of bytes over one connection, and reads whole answers. */
export class Conversation implements Disposable {
  readonly #socket: Socket
  readonly #wanted: (() => void)[] = []
  #said = ''
  #isOver = false

  constructor({ port, url }: Listener) {
    const isSecure = url.startsWith('https:')
    this.#socket = isSecure ? connectSecurely({ port, rejectUnauthorized: false }) : connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString('latin1')
      this.#wanted.shift()?.()
    })
    for (const end of ['error', 'close'] as const) {
      this.#socket.on(end, () => {
        this.#isOver = true
        this.#wanted.shift()?.()
      })
    }
  }

  /** Takes nothing any more. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Resolves when the other side has, most likely, read it by itself. */
  async send(text: string): Promise<void> {
    await new Promise((resolve) => this.#socket.write(text, 'latin1', resolve))
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** The next answer, whose request was not HEAD; empty where there is none any more. */
  async answer(): Promise<string> {
    for (;;) {
      const end = this.#said.indexOf('\r\n\r\n') + 4
      const length = Number(/^content-length: (\d+)\r$/im.exec(this.#said.slice(0, end))?.[1] ?? 0)
      if (end > 3 && this.#said.length >= end + length) {
        const whole = this.#said.slice(0, end + length)
        this.#said = this.#said.slice(end + length)
        return whole
      }
      if (this.#isOver) return ''
      await new Promise<void>((resolve) => this.#wanted.push(resolve))
    }
  }

  async ask(text: string): Promise<string> {
    await this.send(text)
    return await this.answer()
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}

export function get(path: string, ...lines: string[]): string {
  return [`GET ${path} HTTP/1.1`, 'host: a', ...lines, '', ''].join('\r\n')
}

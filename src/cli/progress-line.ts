// How far a long command is: one line that changes, at a terminal; elsewhere there is none.
import type { Io } from './io.ts'

/** Milliseconds between two changes. */
const frame = 100

export class ProgressLine implements Disposable {
  readonly #io: Io
  readonly #isShown: boolean
  #drawnAt = -Infinity
  #isDirty = false

  constructor(io: Io, isQuiet: boolean) {
    this.#io = io
    this.#isShown = !isQuiet && 'isTTY' in io.stderr && io.stderr.isTTY === true
  }

  /** `text` is asked for only when it is time for another line. */
  show(text: () => string): void {
    const now = performance.now()
    if (!this.#isShown || now - this.#drawnAt < frame) return
    this.#drawnAt = now
    this.#isDirty = true
    this.#io.stderr.write(`\r\u001B[K${text()}`)
  }

  /** Writes a line that stays. */
  say(text: string): void {
    this.clear()
    this.#io.stderr.write(`${text}\n`)
  }

  clear(): void {
    if (this.#isDirty) this.#io.stderr.write('\r\u001B[K')
    this.#isDirty = false
    this.#drawnAt = -Infinity
  }

  [Symbol.dispose](): void {
    this.clear()
  }
}

export function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

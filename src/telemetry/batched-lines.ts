// Log lines on their way out, a few at a time: at thousands of requests a second, a system call for each is a tenth of all.

/** Milliseconds that a line waits for others. So much of the log is lost with a killed process. */
const patience = 20

/** Characters that wait for nobody. */
const enough = 64 * 1024

/** Bytes that may wait for whoever reads the log; what comes while there are more is dropped. */
const most = 4 * 1024 * 1024

/** What lines are written to. */
export interface LineTarget {
  write(text: string): unknown
  /** Bytes that it has taken and not passed on. */
  readonly writableLength?: number
}

/** Takes lines of JSON. Disposing it writes what is left; what comes later is written at once. */
export class BatchedLines implements LineTarget, Disposable {
  readonly #target: LineTarget
  #text = ''
  #timer: NodeJS.Timeout | undefined
  #dropped = 0
  #isDisposed = false

  constructor(target: LineTarget) {
    this.#target = target
  }

  write(line: string): void {
    if ((this.#target.writableLength ?? 0) > most) {
      this.#dropped++
      return
    }
    if (this.#dropped > 0) {
      const time = new Date().toISOString()
      this.#text += `${JSON.stringify({ level: 'warn', time, lines: this.#dropped, msg: 'log lines dropped' })}\n`
      this.#dropped = 0
    }
    this.#text += line
    if (this.#text.length >= enough || this.#isDisposed) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), patience)
  }

  /** Writes what waits. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const text = this.#text
    this.#text = ''
    if (text !== '') this.#target.write(text)
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true
    this.flush()
  }
}

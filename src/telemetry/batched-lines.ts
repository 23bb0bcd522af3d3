// Log lines on their way out: no more of them wait than there is memory for, whoever reads them. Those of JSON leave a few at
// a time: at thousands of requests a second, a system call for each is a tenth of all.

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

/** Passes lines of JSON on, each by itself, to whatever makes something else of them. */
export class BoundedLines implements LineTarget {
  readonly #target: LineTarget
  #dropped = 0

  constructor(target: LineTarget) {
    this.#target = target
  }

  write(line: string): void {
    const text = this.admit(line)
    if (text !== '') this.#target.write(text)
  }

  /** What is to be written for a line: nothing, where there is too much already; else the line, behind how many were dropped. */
  admit(line: string): string {
    if ((this.#target.writableLength ?? 0) > most) {
      this.#dropped++
      return ''
    }
    if (this.#dropped === 0) return line
    const time = new Date().toISOString()
    const dropped = JSON.stringify({ level: 'warn', time, lines: this.#dropped, msg: 'log lines dropped' })
    this.#dropped = 0
    return `${dropped}\n${line}`
  }
}

/** Takes lines of JSON. Disposing it writes what is left; what comes later is written at once. */
export class BatchedLines implements LineTarget, Disposable {
  readonly #target: LineTarget
  readonly #bounded: BoundedLines
  #text = ''
  #timer: NodeJS.Timeout | undefined
  #isDisposed = false

  constructor(target: LineTarget) {
    this.#target = target
    this.#bounded = new BoundedLines(target)
  }

  write(line: string): void {
    this.#text += this.#bounded.admit(line)
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

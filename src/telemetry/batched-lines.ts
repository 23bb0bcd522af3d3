// Log lines on their way out, a few at a time: at thousands of requests a second, a system call for each is a tenth of all.

/** Milliseconds that a line waits for others. So much of the log is lost with a killed process. */
const patience = 20

/** Characters that wait for nobody. */
const enough = 64 * 1024

/** What lines are written to. */
export interface LineTarget {
  write(text: string): unknown
}

/** Disposing it writes what is left. */
export class BatchedLines implements LineTarget, Disposable {
  readonly #target: LineTarget
  #text = ''
  #timer: NodeJS.Timeout | undefined

  constructor(target: LineTarget) {
    this.#target = target
  }

  write(line: string): void {
    this.#text += line
    if (this.#text.length >= enough) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), patience)
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const text = this.#text
    this.#text = ''
    if (text !== '') this.#target.write(text)
  }

  [Symbol.dispose](): void {
    this.#flush()
  }
}

// Which mails leave for one address, and when: one after the other, so many an hour, and what is too much in one summary.

export interface Letter {
  readonly subject: string
  readonly text: string
}

/** A line of the log that somebody wants to hear of. */
export interface Notice extends Letter {
  /** What the summary counts it as. */
  readonly title: string
}

export interface MailBoxOptions {
  /** Whose letters they are, for the subject of a summary. */
  readonly sender: string
  readonly send: (letter: Letter) => Promise<void>
  /** Letters an hour. */
  readonly perHour: number
  /** Told once, until one is sent again. */
  readonly onFailure: (error: unknown) => void
  readonly clock?: MailClock | undefined
}

export interface MailClock {
  /** Milliseconds. */
  now(): number
  /** Runs something later, once, unless it is called off. */
  after(milliseconds: number, run: () => void): () => void
}

const hour = 60 * 60 * 1000

/** Letters that wait. */
const maxQueue = 100

/** Different notices that a summary names. */
const maxTitles = 20

const realClock: MailClock = {
  now: () => performance.now(),
  after(milliseconds, run) {
    const timer = setTimeout(run, milliseconds).unref()
    return () => clearTimeout(timer)
  },
}

export class MailBox {
  readonly #options: MailBoxOptions
  readonly #clock: MailClock
  readonly #queue: Letter[] = []
  #sending: Promise<void> | undefined
  #isFailing = false
  /** When the running hour began. */
  #since = -Infinity
  #taken = 0
  #withheld = 0
  readonly #titles = new Map<string, number>()
  #callOff: (() => void) | undefined

  constructor(options: MailBoxOptions) {
    this.#options = options
    this.#clock = options.clock ?? realClock
  }

  /** Never waits and never fails. */
  put(notice: Notice): void {
    this.#renew()
    if (this.#taken >= this.#options.perHour || this.#queue.length >= maxQueue) this.#withhold(notice.title)
    else this.#post(notice)
  }

  /** Sends what was withheld. Resolves when all has left, or was given up. */
  async empty(): Promise<void> {
    this.#summarise()
    await this.#sending
  }

  #renew(): void {
    const now = this.#clock.now()
    if (now - this.#since < hour) return
    this.#since = now
    this.#taken = 0
    this.#summarise()
  }

  #withhold(title: string): void {
    this.#withheld++
    const known = this.#titles.get(title)
    if (known !== undefined || this.#titles.size < maxTitles) this.#titles.set(title, (known ?? 0) + 1)
    this.#callOff ??= this.#clock.after(this.#since + hour - this.#clock.now(), () => this.#renew())
  }

  #summarise(): void {
    this.#callOff?.()
    this.#callOff = undefined
    if (this.#withheld === 0) return
    const subject = `${this.#options.sender}: ${this.#withheld} more lines`
    const named = [...this.#titles].map(([title, count]) => `${count} × ${title}`)
    const others = this.#withheld - [...this.#titles.values()].reduce((sum, count) => sum + count, 0)
    if (others > 0) named.push(`${others} × something else`)
    this.#withheld = 0
    this.#titles.clear()
    this.#post({ subject, text: `Not mailed one by one:\n\n${named.join('\n')}\n` })
  }

  #post(letter: Letter): void {
    this.#taken++
    this.#queue.push(letter)
    this.#sending ??= this.#send()
  }

  async #send(): Promise<void> {
    for (let letter = this.#queue.shift(); letter !== undefined; letter = this.#queue.shift()) {
      try {
        await this.#options.send(letter)
        this.#isFailing = false
      } catch (error) {
        if (!this.#isFailing) this.#options.onFailure(error)
        this.#isFailing = true
      }
    }
    this.#sending = undefined
  }
}

// A hook's call, contained: whatever it does, we get an answer of the right form or one failure, in bounded time.
import type { Logger } from '../telemetry/logger.ts'

/** A function of a module, before anybody has looked at what it answers. */
export type Hook = (asked: object) => unknown

/** Calls that may be unanswered at once, also those that nobody waits for any more. */
const maxRunning = 1000

/** Milliseconds in which a hook's failures are said once. */
const silence = 60_000

export interface ContainedOptions<Answer> {
  readonly hook: Hook
  /** What it is called, and where its module stands in the configuration. */
  readonly name: string
  readonly key: string
  /** Milliseconds. */
  readonly timeout: number
  /** @throws Error where an answer is none */
  readonly read: (answer: unknown) => Answer
  readonly logger: Logger
  /** Milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined
}

/** The hook threw, took too long, or answered with something else. It has been said in the log. */
export class HookError extends Error {
  override readonly name = 'HookError'
}

export class ContainedHook<Asked extends object, Answer> {
  readonly #options: ContainedOptions<Answer>
  readonly #now: () => number
  #running = 0
  #failures = 0
  #saidAt: number | undefined

  constructor(options: ContainedOptions<Answer>) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /** @throws HookError */
  async call(asked: Asked): Promise<Answer> {
    const { name, key, read } = this.#options
    try {
      if (this.#running >= maxRunning) throw new Error(`${maxRunning} calls are unanswered`)
      return read(await this.#answer(Object.freeze({ ...asked })))
    } catch (cause) {
      this.#say(cause)
      throw new HookError(`${key}: ${name} failed`, { cause })
    }
  }

  async #answer(asked: object): Promise<unknown> {
    const { hook, timeout } = this.#options
    const answer = hook(asked)
    if (!isPromised(answer)) return answer
    this.#running++
    const settled = Promise.resolve(answer).finally(() => this.#running--)
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new Error(`no answer in ${timeout} ms`)), timeout)
    try {
      return await Promise.race([settled, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #say(error: unknown): void {
    const { name, key, logger } = this.#options
    this.#failures++
    const now = this.#now()
    if (this.#saidAt !== undefined && now >= this.#saidAt && now - this.#saidAt < silence) return
    this.#saidAt = now
    logger.warn({ hook: name, module: key, failures: this.#failures, error }, 'hook failed')
    this.#failures = 0
  }
}

/** Other libraries' promises, too: whatever `await` would wait for. */
function isPromised(answer: unknown): boolean {
  const isObject = (typeof answer === 'object' && answer !== null) || typeof answer === 'function'
  return isObject && 'then' in answer && typeof answer.then === 'function'
}

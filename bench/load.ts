// Clients that run in another process.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Target } from './client.ts'

export interface Job {
  readonly url: string
  /** Asked for in turn, by all connections together. */
  readonly targets: readonly Target[]
  readonly connections: number
  /** How often each connection asks, or for how long they do; without either, until they are ended. */
  readonly times?: number
  readonly seconds?: number
  /** Milliseconds from one request of a connection to its next; without it, one follows the other. */
  readonly every?: number
}

/** What all connections of a job saw; every body was right. */
export interface Loaded {
  readonly answers: number
  readonly bytes: number
  /** Of the head of the last answer. */
  readonly headSize: number
  /** From before the first connection to the end of the last answer. */
  readonly seconds: number
  /**
   * The next four in milliseconds, of single requests: the earliest first byte, and what answers took. With `every`, from
   * when a request was due: whoever keeps a client waiting makes its next request late, too.
   */
  readonly firstByte: number
  readonly middle: number
  readonly p99: number
  readonly first: number
}

interface Waiting {
  readonly begun: PromiseWithResolvers<void>
  readonly done: PromiseWithResolvers<Loaded>
}

export interface Loading {
  /** Resolves when each connection has the head of its first answer. */
  readonly begun: Promise<void>
  /** @throws Error where an answer was not what it must be */
  readonly done: Promise<Loaded>
}

export class Load implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #id = 0

  /** @param authority a file with who signs the certificates of servers */
  constructor(authority?: string) {
    const child = fork(join(import.meta.dirname, 'load-process.ts'), authority === undefined ? [] : [authority])
    this.#child = child
    child.on('message', (message: { id: number; begun?: true; loaded?: Loaded; error?: string }) => {
      const waiting = this.#waiting.get(message.id)
      if (message.begun === true) waiting?.begun.resolve()
      else if (message.loaded !== undefined) waiting?.done.resolve(message.loaded)
      else this.#fail(waiting, new Error(message.error))
    })
    child.once('exit', () => {
      for (const waiting of this.#waiting.values()) this.#fail(waiting, new Error('the clients have ended'))
    })
  }

  begin(job: Job): Loading {
    const id = ++this.#id
    const waiting: Waiting = { begun: Promise.withResolvers(), done: Promise.withResolvers() }
    waiting.begun.promise.catch(() => {}) // who waits for it hears it; all hear that it is not done
    this.#waiting.set(id, waiting)
    this.#child.send({ id, job }, (error) => {
      if (error !== null) this.#fail(waiting, error)
    })
    return { begun: waiting.begun.promise, done: waiting.done.promise }
  }

  async run(job: Job): Promise<Loaded> {
    return await this.begin(job).done
  }

  /** What they are at fails. */
  end(): void {
    this.#child.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.end()
    await once(this.#child, 'exit')
  }

  #fail(waiting: Waiting | undefined, error: Error): void {
    waiting?.begun.reject(error)
    waiting?.done.reject(error)
  }
}

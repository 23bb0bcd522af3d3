// A file that somebody else writes, read again when it changes.
import { open } from 'node:fs/promises'
import { Coalescer } from '../async/coalesce.ts'
import { collect } from '../bytes/stream.ts'
import type { Logger } from '../telemetry/logger.ts'
import { AccessSetupError, reasonOf } from './setup-error.ts'

export interface WatchedFileOptions<T> {
  /** Whose value the path is in the configuration. */
  readonly key: string
  readonly path: string
  /** @throws where the text is not what it should be; nothing of the text is in the error */
  readonly parse: (text: string) => T
  readonly logger: Logger
  /** A clock in milliseconds that never goes back; for tests. */
  readonly clock?: (() => number) | undefined
}

const maxFile = 4 * 1024 * 1024

/** Milliseconds for which the file is not looked at again. */
const trust = 1000

/** Milliseconds for which a request waits for the disk. */
const patience = 1000

export class WatchedFile<T> {
  readonly #options: WatchedFileOptions<T>
  readonly #clock: () => number
  readonly #looks = new Coalescer<void>()
  #content: T
  #version: string
  #lookedAt: number
  #told: string | undefined

  private constructor(options: WatchedFileOptions<T>, content: T, version: string) {
    this.#options = options
    this.#clock = options.clock ?? ((): number => performance.now())
    this.#content = content
    this.#version = version
    this.#lookedAt = this.#clock()
  }

  /** @throws AccessSetupError where it cannot be read or parsed */
  static async open<T>(options: WatchedFileOptions<T>): Promise<WatchedFile<T>> {
    const { text, version } = await read(options.path).catch((cause: unknown) => {
      throw new AccessSetupError(options, `cannot be read: ${reasonOf(cause)}`, cause)
    })
    try {
      return new WatchedFile(options, options.parse(text), version)
    } catch (cause) {
      throw new AccessSetupError(options, `cannot be used: ${reasonOf(cause)}`, cause)
    }
  }

  /** What it says now, at most a second ago. A file that has become unreadable is told of once; what it said last counts. */
  async content(): Promise<T> {
    const now = this.#clock()
    if (now - this.#lookedAt >= trust) {
      this.#lookedAt = now
      const look = this.#looks.run('look', async () => await this.#look(), AbortSignal.timeout(patience))
      await look.catch(() => {}) // a disk that hangs is as one that cannot be read
    }
    return this.#content
  }

  async #look(): Promise<void> {
    const { path, parse, logger } = this.#options
    try {
      const { text, version } = await read(path, this.#version)
      if (text !== undefined) {
        this.#content = parse(text)
        this.#version = version
        logger.info({ path }, 'a file of auth has changed and was read again')
      }
      this.#told = undefined
    } catch (error) {
      const news = String(error)
      if (this.#told !== news) logger.warn({ path, error }, 'a file of auth cannot be read: what it said last counts')
      this.#told = news
    }
  }
}

interface Read {
  /** What tells one content of the file from the next. */
  readonly version: string
  readonly text: string
}

/** Where the file still has the version `known`, its text is not read. */
async function read(path: string): Promise<Read>
async function read(path: string, known: string): Promise<Read | { readonly version: string; readonly text: undefined }>
async function read(path: string, known?: string): Promise<{ version: string; text: string | undefined }> {
  await using file = await open(path)
  const { mtimeMs, ctimeMs, size, ino } = await file.stat()
  const version = `${mtimeMs} ${ctimeMs} ${size} ${ino}`
  if (version === known) return { version, text: undefined }
  return { version, text: (await collect(file.createReadStream({ autoClose: false }), maxFile)).toString('utf8') }
}

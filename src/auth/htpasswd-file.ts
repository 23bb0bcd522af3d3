// Apache's file of users and hashed passwords, read again when it changes.
import { open } from 'node:fs/promises'
import { Coalescer } from '../async/coalesce.ts'
import { collect } from '../bytes/stream.ts'
import type { Logger } from '../telemetry/logger.ts'

export interface Htpasswd {
  /** User → bcrypt's hash. What is hashed in another way never matches, and is not here. */
  readonly users: ReadonlyMap<string, string>
  /** Lines that were left out for that. */
  readonly ignored: number
}

export class HtpasswdError extends Error {
  override readonly name = 'HtpasswdError'
}

/** Of 2^17 rounds one check takes a quarter of a minute; more is no password but a way to stand still. */
const bcryptHash = /^\$2[aby]\$(?:0[4-9]|1[0-7])\$[./A-Za-z0-9]{53}$/

/** @throws HtpasswdError at a line without colon; nothing of it is repeated */
export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, string>()
  let ignored = 0
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    if (colon < 0) throw new HtpasswdError(`line ${index + 1} has no colon`)
    const hash = line.slice(colon + 1)
    // `$2y$` is how Apache's htpasswd writes what the library calls `$2b$`.
    if (bcryptHash.test(hash)) users.set(line.slice(0, colon), hash.replace(/^\$2y/, '$2b'))
    else ignored += 1
  }
  return { users, ignored }
}

export interface HtpasswdFileOptions {
  readonly path: string
  readonly logger: Logger
  /** A clock in milliseconds that never goes back; for tests. */
  readonly clock?: (() => number) | undefined
}

const maxFile = 4 * 1024 * 1024

/** Milliseconds for which the file is not looked at again. */
const trust = 1000

/** Milliseconds for which a request waits for the disk. */
const patience = 1000

export class HtpasswdFile {
  readonly #path: string
  readonly #logger: Logger
  readonly #clock: () => number
  readonly #looks = new Coalescer<void>()
  #content: Htpasswd
  #version: string
  #lookedAt: number
  #told: string | undefined

  private constructor({ path, logger, clock = () => performance.now() }: HtpasswdFileOptions, first: ReadFile) {
    this.#path = path
    this.#logger = logger
    this.#clock = clock
    this.#content = first.content
    this.#version = first.version
    this.#lookedAt = clock()
  }

  /** @throws where it cannot be read or parsed */
  static async open(options: HtpasswdFileOptions): Promise<HtpasswdFile> {
    return new HtpasswdFile(options, await readHtpasswd(options.path))
  }

  /** What it says now, at most a second ago. A file that has become unreadable is told of once; what it said last counts. */
  async content(): Promise<Htpasswd> {
    const now = this.#clock()
    if (now - this.#lookedAt >= trust) {
      this.#lookedAt = now
      const look = this.#looks.run('look', async () => await this.#look(), AbortSignal.timeout(patience))
      await look.catch(() => {}) // a disk that hangs is as one that cannot be read
    }
    return this.#content
  }

  async #look(): Promise<void> {
    try {
      const read = await readHtpasswd(this.#path, this.#version)
      if (read.version !== this.#version) {
        this.#content = read.content
        this.#version = read.version
        this.#logger.info({ users: read.content.users.size, ignored: read.content.ignored }, 'htpasswd file read again')
      }
      this.#told = undefined
    } catch (error) {
      const news = String(error)
      if (this.#told !== news)
        this.#logger.warn({ error }, 'the htpasswd file cannot be read: what it said last counts')
      this.#told = news
    }
  }
}

interface ReadFile {
  /** What tells one content of the file from the next. */
  readonly version: string
  readonly content: Htpasswd
}

const nothing: Htpasswd = { users: new Map(), ignored: 0 }

/** Where the file still has the version `known`, its content is not read. */
export async function readHtpasswd(path: string, known?: string): Promise<ReadFile> {
  await using file = await open(path)
  const { mtimeMs, ctimeMs, size, ino } = await file.stat()
  const version = `${mtimeMs} ${ctimeMs} ${size} ${ino}`
  if (version === known) return { version, content: nothing }
  const text = (await collect(file.createReadStream({ autoClose: false }), maxFile)).toString('utf8')
  return { version, content: parseHtpasswd(text) }
}

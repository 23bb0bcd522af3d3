// Facts in a redis that several processes share. It must never cost more than it saves: every answer is waited for a short
// time, and a redis that fails is left alone, at no cost to anyone, until it has proven itself in the background.
import { setTimeout as callLater } from 'node:timers'
import { setTimeout } from 'node:timers/promises'
import type { Keyv } from 'keyv'
import { deferred, type Deferred } from '../async/deferred.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { FactStore } from './facts.ts'
import type { RedisConnection, RedisOptions } from './redis-connection.ts'

const defaultPatience = 50
const defaultPause = 3000

/**
 * Deletions that are owed while the redis is away: those that were not confirmed, and those of what was written without
 * a confirmation. When there are more, all facts are deleted at its return.
 */
const maxOwed = 10_000

/** Milliseconds that deleting all facts may take. */
const clearPatience = 10_000

/** Failures in a row after which another connection is tried. */
const maxFailures = 3

/** `unconfirmed`: it was sent, and may have come, or may come yet. */
type Outcome = 'confirmed' | 'refused' | 'unsent' | 'unconfirmed'

export class RedisStore implements FactStore {
  readonly #options: RedisOptions
  readonly #logger: Logger
  readonly #patience: number
  readonly #closing = new AbortController()
  readonly #running: Promise<void>
  /** Keys whose deletion the redis has not confirmed. While there are any, nothing is served. */
  readonly #owed = new Set<string>()
  #owesAll = false
  #isOutage = false
  #errors = 0
  #up: { readonly connection: RedisConnection; readonly failure: Deferred<never> } | undefined

  constructor(options: RedisOptions, logger: Logger) {
    this.#options = options
    this.#logger = logger
    this.#patience = options.patience ?? defaultPatience
    this.#running = this.#run()
  }

  /** Whether facts can be had at the moment. */
  get isUp(): boolean {
    return this.#up !== undefined
  }

  get errors(): number {
    return this.#errors
  }

  async get(key: string): Promise<unknown> {
    let value: unknown
    await this.#attempt(async (keyv) => {
      value = await keyv.get<unknown>(key)
    })
    return this.#owed.has(key) ? undefined : value
  }

  async set(key: string, value: unknown, ttl: number): Promise<void> {
    const outcome = await this.#attempt(async (keyv) => await keyv.set(key, value, ttl))
    // It may yet arrive, behind a deletion that another process makes meanwhile.
    if (outcome === 'unconfirmed') this.#owe(key)
  }

  async delete(key: string): Promise<void> {
    const outcome = await this.#attempt(async (keyv) => await keyv.delete(key))
    if (outcome !== 'confirmed') this.#owe(key)
  }

  #owe(key: string): void {
    if (this.#owed.size < maxOwed) this.#owed.add(key)
    else this.#owesAll = true
    const up = this.#up
    this.#up = undefined // a new connection, where the one that failed was replaced meanwhile
    up?.failure.reject(new Error('a deletion was not confirmed'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #attempt(call: (keyv: Keyv) => Promise<unknown>): Promise<Outcome> {
    const outcome = await this.#call(call)
    if (outcome !== 'confirmed') this.#errors++
    return outcome
  }

  async #call(call: (keyv: Keyv) => Promise<unknown>): Promise<Outcome> {
    const up = this.#up
    if (up === undefined || up.connection.isEnded) return 'unsent'
    try {
      await within(this.#patience, call(up.connection.keyv))
      return 'confirmed'
    } catch (error) {
      if (isWrongType(error)) return 'refused' // a stranger's key: no reason to leave the redis alone
      if (this.#up === up) this.#up = undefined
      up.failure.reject(error)
      return 'unconfirmed'
    }
  }

  /** Keeps a connection while it works, and replaces it when it does not. */
  async #run(): Promise<void> {
    const { signal } = this.#closing
    // Its client is the largest of all packages: who has no redis starts sooner and smaller without it.
    const client = await import('./redis-connection.ts')
    while (!signal.aborted) {
      const connection = new client.RedisConnection(this.#options)
      const end = (): void => connection.end()
      signal.addEventListener('abort', end)
      try {
        await connection.connect()
        await this.#use(connection)
      } catch (error) {
        this.#noteOutage(error)
      }
      signal.removeEventListener('abort', end)
      end()
      await this.#rest()
    }
  }

  /** Serves by one connection, with rests after failures, until it is worth no more. @throws its last failure */
  async #use(connection: RedisConnection): Promise<never> {
    for (let failures = 0; ; await this.#rest()) {
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason
      try {
        do await this.#prove(connection.keyv)
        while (this.#owed.size > 0 || this.#owesAll)
        failures = 0
        await this.#serve(connection)
      } catch (error) {
        this.#noteOutage(error)
        failures++
        if (connection.isEnded || failures === maxFailures) throw error
      }
    }
  }

  /** By writing: a redis that is loading, full, read-only or wants a password answers a ping. */
  async #prove(keyv: Keyv): Promise<void> {
    await within(this.#patience, keyv.set('probe', Date.now(), 60_000))
    if (this.#owesAll) {
      await within(clearPatience, keyv.clear())
      this.#owesAll = false
    }
    for (const key of this.#owed) {
      await within(this.#patience, keyv.delete(key))
      this.#owed.delete(key)
    }
  }

  async #serve(connection: RedisConnection): Promise<never> {
    const failure = deferred<never>()
    this.#up = { connection, failure }
    if (this.#isOutage) this.#logger.info('redis is back')
    this.#isOutage = false
    return await Promise.race([failure.promise, connection.ended])
  }

  #noteOutage(error: unknown): void {
    this.#up = undefined
    if (this.#isOutage || this.#closing.signal.aborted) return
    this.#isOutage = true
    this.#logger.warn({ error: new RedisError(error) }, 'redis is away')
  }

  async #rest(): Promise<void> {
    const { signal } = this.#closing
    await setTimeout(this.#options.pause ?? defaultPause, undefined, { signal, ref: false }).catch(() => {})
  }
}

/** Whatever a redis, or the way to it, fails with: it is replaced, and facts may be missed. */
class RedisError extends Error {
  override readonly name = 'RedisError'

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/** The answer, where it comes within so many milliseconds. One that came while this process was busy counts too. */
async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  const late = deferred<never>()
  const timer = callLater(() => setImmediate(() => late.reject(new Error(`no answer within ${ms} ms`))), ms)
  try {
    return await Promise.race([answer, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function isWrongType(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('WRONGTYPE')
}

// One connection to a redis, from its beginning to its end: whoever wants to go on afterwards opens another.
import KeyvRedis, { createClient } from '@keyv/redis'
import { Keyv } from 'keyv'
import { deferred, type Deferred } from '../async/deferred.ts'

export interface RedisOptions {
  readonly host: string
  readonly port: number
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly db?: number | undefined
  readonly tls?: boolean | undefined
  /** Milliseconds until a connection must be ready. */
  readonly dialTimeout?: number | undefined
  /** Milliseconds that an answer is waited for; 50. */
  readonly patience?: number | undefined
  /** Milliseconds for which a redis that failed is left alone; 3,000. */
  readonly pause?: number | undefined
}

const prefix = 'entrepot'

/** The longest value that we would ever write is far shorter. */
const maxValueLength = 16 * 1024

const defaultDialTimeout = 5000

type Client = ReturnType<typeof createClient>

export class RedisConnection {
  readonly keyv: Keyv
  readonly #client: Client
  readonly #dialTimeout: number
  readonly #ended: Deferred<never> = deferred<never>()
  #hasSocket = false
  #isEnded = false

  constructor(options: RedisOptions) {
    this.#dialTimeout = options.dialTimeout ?? defaultDialTimeout
    this.#client = createClient({
      socket: {
        host: options.host,
        port: options.port,
        connectTimeout: this.#dialTimeout,
        reconnectStrategy: false,
        ...(options.tls === true ? { tls: true } : {}),
      },
      database: options.db ?? 0,
      disableOfflineQueue: true,
      commandsQueueMaxLength: 10_000,
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: options.password }),
    })
    this.#client.unref()
    this.#client.on('error', (error) => this.end(error))
    this.#client.on('connect', () => {
      this.#hasSocket = true
      if (this.#isEnded) this.#destroy()
    })
    const adapter = new OneConnection(this.#client, { namespace: prefix, keyPrefixSeparator: ':', throwOnErrors: true })
    this.keyv = new Keyv({
      store: adapter,
      namespace: prefix,
      useKeyPrefix: false,
      throwOnErrors: true,
      emitErrors: false,
      deserialize: parseStored,
    })
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  /** Rejects when the connection has broken; never resolves. */
  get ended(): Promise<never> {
    return this.#ended.promise
  }

  /** @throws where the redis is not ready in time; the connection has ended then */
  async connect(): Promise<void> {
    const timer = setTimeout(() => this.end(new Error('the redis is not ready in time')), this.#dialTimeout)
    try {
      await Promise.race([this.#client.connect(), this.ended])
    } catch (error) {
      this.end(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Drops the connection at once, and all calls under way with it. Idempotent. */
  end(reason: unknown = new Error('the connection is closed')): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#ended.reject(reason)
    // A socket that is not connected yet cannot be taken from the client: it is destroyed as soon as it is.
    if (this.#hasSocket) this.#destroy()
  }

  #destroy(): void {
    try {
      this.#client.destroy()
    } catch {
      // it was closed from the other side
    }
  }
}

/** Keyv's adapter, which would connect a closed client anew whenever it is asked for something. */
class OneConnection extends KeyvRedis<unknown> {
  override async getClient(): ReturnType<KeyvRedis<unknown>['getClient']> {
    return this.client
  }
}

/** Keyv's own envelope, or nothing: what else lies under our keys is not ours, and is overwritten. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- keyv's signature; `Facts` parses the value
function parseStored<T>(text: string): { value: T; expires?: number } | undefined {
  if (text.length > maxValueLength) return undefined
  try {
    const envelope: unknown = JSON.parse(text)
    const isEnvelope = typeof envelope === 'object' && envelope !== null && 'value' in envelope
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
    return isEnvelope ? (envelope as { value: T; expires?: number }) : undefined
  } catch {
    return undefined
  }
}

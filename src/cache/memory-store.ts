// Facts in this process: a bounded number of them, the least used one goes first.
import { Keyv } from 'keyv'
import type { LRUCache } from 'lru-cache'
import type { FactStore } from './facts.ts'
import { recent } from './recent.ts'

export class MemoryStore implements FactStore {
  readonly errors = 0
  readonly #keyv: Keyv

  constructor(entries: number) {
    this.#keyv = new Keyv({ store: new BoundedMap(entries), useKeyPrefix: false, throwOnErrors: true })
    // Values are kept as they are: nobody changes a fact, so no copy by way of text is needed.
    this.#keyv.serialize = undefined
    this.#keyv.deserialize = undefined
  }

  async get(key: string): Promise<unknown> {
    return await this.#keyv.get<unknown>(key)
  }

  async set(key: string, value: unknown, ttl: number): Promise<void> {
    await this.#keyv.set(key, value, ttl)
  }

  async delete(key: string): Promise<void> {
    await this.#keyv.delete(key)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keyv.clear()
  }
}

/** What keyv asks of a store. */
class BoundedMap {
  readonly #entries: LRUCache<string, object>

  constructor(max: number) {
    this.#entries = recent(max)
  }

  get(key: string): object | undefined {
    return this.#entries.get(key)
  }

  /** `value` is keyv's envelope, which holds the time to live. */
  set(key: string, value: object): void {
    this.#entries.set(key, value)
  }

  delete(key: string): boolean {
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }
}

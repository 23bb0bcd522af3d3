// Facts: what is remembered to save work, and may vanish at any moment without harm.

/** Where facts are kept. Nothing here throws or takes long: a store that cannot answer knows nothing. */
export interface FactStore extends AsyncDisposable {
  /** Calls that it could not answer, since the start. */
  readonly errors: number
  /** Whatever is stored under the key, by whomever. */
  get(key: string): Promise<unknown>
  /** @param ttl milliseconds */
  set(key: string, value: unknown, ttl: number): Promise<void>
  /**
   * This process does not find a deleted fact again, also where the store could not be reached when it was deleted: the
   * deletion is made good before the store is next used. That debt ends with the process, and a shared store may still be
   * given the fact by another one that learned it before. So a fact says what was true once, and is never the last word
   * on what may be seen.
   */
  delete(key: string): Promise<void>
}

/** A week: facts do not go wrong with time, this only clears away those of what is long gone. */
const defaultTtl = 7 * 24 * 60 * 60_000

/** The facts of one kind. */
export class Facts<T> {
  readonly #store: FactStore
  readonly #namespace: string
  readonly #parse: (value: unknown) => T | undefined
  readonly #ttl: number

  /** `parse` says `undefined` to what is no such fact: another version of us, or a stranger, may have written it. */
  constructor(store: FactStore, namespace: string, parse: (value: unknown) => T | undefined, ttl: number = defaultTtl) {
    this.#store = store
    this.#namespace = namespace
    this.#parse = parse
    this.#ttl = ttl
  }

  async find(key: string): Promise<T | undefined> {
    const value = await this.#store.get(this.#keyOf(key))
    return value === undefined ? undefined : this.#parse(value)
  }

  async set(key: string, value: T): Promise<void> {
    await this.#store.set(this.#keyOf(key), value, this.#ttl)
  }

  async delete(key: string): Promise<void> {
    await this.#store.delete(this.#keyOf(key))
  }

  #keyOf(key: string): string {
    return `${this.#namespace}:${key}`
  }
}

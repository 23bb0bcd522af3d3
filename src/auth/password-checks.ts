// Checks of passwords, each of which costs a core tens of milliseconds: few at once, a bounded number waiting, and none
// that has just been made (T-97).
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import { RegistryError } from '../oci/error.ts'

/** Whether a password has this hash. */
export type Compare = (password: Buffer, hash: string) => Promise<boolean>

export interface PasswordCheckOptions {
  readonly compare: Compare
  /** How many run at once. */
  readonly running: number
  /** How many may wait for one of these to end. */
  readonly waiting: number
  /** A clock in milliseconds that never goes back; for tests. */
  readonly now?: (() => number) | undefined
}

/** Milliseconds for which a password that was right is right. A change of its hash counts at once. */
const lifetime = 5 * 60_000
const maxRemembered = 10_000

export class PasswordChecks {
  readonly #compare: Compare
  readonly #limits: { readonly running: number; readonly waiting: number }
  readonly #now: () => number
  /** Passwords are never kept, only what nobody can make without this. */
  readonly #key = createSecretKey(randomBytes(32))
  readonly #right = new LRUCache<string, number>({ max: maxRemembered })
  readonly #checks = new Coalescer<boolean>()
  readonly #queue: (() => void)[] = []
  #running = 0

  constructor({ compare, running, waiting, now = () => performance.now() }: PasswordCheckOptions) {
    this.#compare = compare
    this.#limits = { running, waiting }
    this.#now = now
  }

  /** @throws RegistryError TOOMANYREQUESTS where too many wait already */
  async isRight(user: string, password: Buffer, hash: string): Promise<boolean> {
    const name = createHmac('sha256', this.#key)
      .update(JSON.stringify([user, hash]))
      .update(password)
      .digest('base64')
    const rememberedUntil = this.#right.get(name)
    if (rememberedUntil !== undefined && this.#now() < rememberedUntil) return true
    const isRight = await this.#checks.run(name, async () => await this.#inTurn(password, hash))
    if (isRight) this.#right.set(name, this.#now() + lifetime)
    return isRight
  }

  async #inTurn(password: Buffer, hash: string): Promise<boolean> {
    if (this.#running >= this.#limits.running) {
      if (this.#queue.length >= this.#limits.waiting) {
        throw new RegistryError('TOOMANYREQUESTS', 'too many passwords are being checked', { retryAfter: 2 })
      }
      await new Promise<void>((resolve) => this.#queue.push(resolve)) // whoever ends hands on its place
    } else this.#running += 1
    try {
      return await this.#compare(password, hash)
    } finally {
      const next = this.#queue.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}

// How much one client may ask for at once, and in a second. Whoever exceeds it hears so, and costs the others nothing.

export interface ClientLimitsOptions {
  /** Requests that run at once; 0: any number. */
  readonly requests: number
  /** Requests in a second, as many of them at once; 0: any number. */
  readonly rate: number
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
}

/** Clients whose rate is surely remembered; up to twice as many are, and those that were not here for longest are forgotten. */
const remembered = 8192

/** Seconds. A request of a client that has too many running may end at any moment. */
const shortly = 1

export class ClientLimits {
  readonly #options: ClientLimitsOptions
  readonly #clock: () => number
  readonly #running = new Map<string, number>()
  /** Of each client, until when its requests so far fill the rate, in milliseconds of the clock. */
  #filled = new Map<string, number>()
  /** The same, of before: taking single entries out of the front of a map would cost more the more there were. */
  #filledBefore = new Map<string, number>()

  constructor(options: ClientLimitsOptions) {
    this.#options = options
    this.#clock = options.clock ?? ((): number => performance.now())
  }

  /** Begins a request; `undefined`: it may run, and ends with `leave`. Else the seconds after which to come again. */
  enter(address: string): number | undefined {
    const client = clientOf(address)
    const { requests, rate } = this.#options
    const running = this.#running.get(client) ?? 0
    if (requests > 0 && running >= requests) return shortly
    const wait = rate > 0 ? this.#count(client, rate) : 0
    if (wait > 0) return Math.ceil(wait / 1000)
    this.#running.set(client, running + 1)
    return undefined
  }

  leave(address: string): void {
    const client = clientOf(address)
    const left = (this.#running.get(client) ?? 0) - 1
    if (left > 0) this.#running.set(client, left)
    else this.#running.delete(client)
  }

  /** Milliseconds until there is room for another one; 0: there was, and it is counted. */
  #count(client: string, rate: number): number {
    const now = this.#clock()
    const filled = Math.max(now, this.#filled.get(client) ?? this.#filledBefore.get(client) ?? 0)
    const wait = filled + 1000 / rate - (now + 1000)
    if (wait > 0.001) return wait // what a division leaves over is no reason
    if (this.#filled.size >= remembered) {
      this.#filledBefore = this.#filled
      this.#filled = new Map()
    }
    this.#filled.set(client, filled + 1000 / rate)
    return 0
  }
}

/** Who has one IPv6 address has its whole /64 (RFC 4291 §2.5.4), and could come from another one each time. */
function clientOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.replace(/%.*$/, '').split('::')
  const groups = head === '' ? [] : head.split(':')
  const behind = tail === undefined || tail === '' ? [] : tail.split(':')
  const whole = [...groups, ...Array.from({ length: 8 - groups.length - behind.length }, () => '0'), ...behind]
  return whole.slice(0, 4).join(':')
}

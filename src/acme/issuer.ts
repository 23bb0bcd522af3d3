// Keeps a certificate of an authority for our hosts: asked for where there is none, renewed when a third of its lifetime is
// left, and used for as long as there is no newer one. What an authority counts against us, we do not repeat for an hour.
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Identity, IssuedIdentity } from '../http/issued-identity.ts'
import type { Logger } from '../telemetry/logger.ts'
import { readCacheFile, writeCacheFile, type Kept } from './cache-file.ts'
import type { Order } from './order.ts'
import { UnreachableError } from './transport.ts'

export interface IssuerOptions {
  /** DNS names in lower case, one at least. */
  readonly hosts: readonly string[]
  readonly email: string | undefined
  /** The URL of the authority's directory. */
  readonly directory: string
  readonly cacheFile: string
  readonly order: Order
  readonly logger: Logger
  /** Milliseconds since 1970. */
  readonly clock?: (() => number) | undefined
  /** From 0 to 1. */
  readonly random?: (() => number) | undefined
}

const hour = 60 * 60_000

/** Milliseconds after failures in a row: the first, doubled with each, up to the longest. */
const waits = {
  /** Let's Encrypt forgives five failures an hour, and five certificates for the same names a week. */
  refused: { first: hour, longest: 24 * hour },
  /** Where nobody has answered, nobody has counted. */
  unreachable: { first: 60_000, longest: hour },
}

interface Failures {
  readonly kind: keyof typeof waits
  /** In a row. */
  readonly count: number
}

/** The part of a wait by which it is longer, so that many of us do not come at one moment. */
const jitter = 0.1

/** A timer runs for 24 days at most, and not while a machine sleeps. */
const longestTimer = hour

export class Issuer implements IssuedIdentity, AsyncDisposable {
  readonly #options: IssuerOptions
  readonly #clock: () => number
  readonly #random: () => number
  readonly #proofs = new Map<string, SecureContext>()
  readonly #stop = new AbortController()
  #kept: Kept
  #onChange = (): void => {}
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> | undefined
  #failures: Failures = { kind: 'refused', count: 0 }
  /** Why there was none, and whether what there is had expired: what was said last. */
  #lastReason: string | undefined
  /** When a certificate is asked for next. */
  #due: number

  /** @throws CacheFileError where it cannot be used, or none can be made */
  static async open(options: IssuerOptions): Promise<Issuer> {
    const { directory, cacheFile } = options
    const kept = await readCacheFile(cacheFile)
    if (kept !== undefined) return new Issuer(options, kept)
    // At once, so that a place where nothing can be kept is heard of before anything is asked for.
    const fresh = { directory, account: newAccount(), identity: undefined }
    await writeCacheFile(cacheFile, fresh)
    return new Issuer(options, fresh)
  }

  private constructor(options: IssuerOptions, kept: Kept) {
    this.#options = options
    this.#clock = options.clock ?? Date.now
    this.#random = options.random ?? Math.random
    this.#kept = kept
    this.#due = this.#renewal()
  }

  get current(): Identity | undefined {
    return this.#kept.identity
  }

  proofFor(host: string): SecureContext | undefined {
    return this.#proofs.get(host)
  }

  begin(onChange: () => void): void {
    this.#onChange = onChange
    const { hosts, cacheFile, logger } = this.#options
    const { identity } = this.#kept
    if (identity === undefined) {
      logger.warn({ hosts }, 'no certificate yet: TLS handshakes fail until the authority has issued one')
    } else {
      const expires = new X509Certificate(identity.certificate).validToDate
      logger.info({ hosts, expires, cachefile: cacheFile }, 'certificate of an earlier run in use')
    }
    this.#wait()
  }

  /** What was just issued is kept before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#writing
  }

  /** When the certificate that we have is to be renewed; 0: it will not do. */
  #renewal(): number {
    const { directory, identity } = this.#kept
    if (identity === undefined || directory !== this.#options.directory) return 0
    const certificate = new X509Certificate(identity.certificate)
    if (this.#options.hosts.some((host) => certificate.checkHost(host) === undefined)) return 0
    const third = (certificate.validToDate.getTime() - certificate.validFromDate.getTime()) / 3
    return certificate.validToDate.getTime() - third * (1 + jitter * this.#random())
  }

  #wait(): void {
    if (this.#stop.signal.aborted) return
    const left = this.#due - this.#clock()
    if (left <= 0) void this.#ask()
    else this.#timer = setTimeout(() => this.#wait(), Math.min(left, longestTimer)).unref()
  }

  async #ask(): Promise<void> {
    try {
      const identity = await this.#order()
      this.#failures = { kind: 'refused', count: 0 }
      this.#lastReason = undefined
      this.#take(identity)
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#proofs.clear()
    }
    this.#wait()
  }

  async #order(): Promise<Identity> {
    const { hosts, email, directory, order } = this.#options
    const identity = await order({
      directory,
      account: this.#kept.account,
      email,
      hosts,
      prove: (host, proof) => this.#prove(host, proof),
      signal: this.#stop.signal,
    })
    const certificate = new X509Certificate(identity.certificate)
    const missing = hosts.filter((host) => certificate.checkHost(host) === undefined)
    if (missing.length > 0)
      throw new Error(`the authority has issued a certificate that is not for ${missing.join(', ')}`)
    if (!certificate.checkPrivateKey(createPrivateKey(identity.key))) {
      throw new Error('the authority has issued a certificate for another key')
    }
    return identity
  }

  /** Only for what was asked for: an authority is no reason to claim another name. */
  #prove(host: string, proof: Identity | undefined): void {
    if (proof === undefined) this.#proofs.delete(host)
    else if (this.#options.hosts.includes(host)) {
      this.#proofs.set(host, createSecureContext({ cert: proof.certificate, key: proof.key }))
    }
  }

  #take(identity: Identity): void {
    const { hosts, directory, logger } = this.#options
    this.#kept = { ...this.#kept, directory, identity }
    this.#due = Math.max(this.#renewal(), this.#clock() + hour)
    const expires = new X509Certificate(identity.certificate).validToDate
    logger.info({ hosts, expires }, 'certificate issued')
    this.#onChange()
    this.#writing = this.#keep()
  }

  async #keep(): Promise<void> {
    const { cacheFile, logger } = this.#options
    try {
      await writeCacheFile(cacheFile, this.#kept)
    } catch (error) {
      logger.error({ error }, 'the certificate cannot be kept: it is lost at the next restart')
    }
  }

  #fail(error: unknown): void {
    if (this.#stop.signal.aborted) return
    const kind = error instanceof UnreachableError ? 'unreachable' : 'refused'
    const count = kind === this.#failures.kind ? this.#failures.count + 1 : 1
    this.#failures = { kind, count }
    const { first, longest } = waits[kind]
    const wait = Math.min(first * 2 ** (count - 1), longest) * (1 + jitter * this.#random())
    this.#due = this.#clock() + wait
    const expires = this.current && new X509Certificate(this.current.certificate).validToDate
    const hasExpired = expires !== undefined && expires.getTime() <= this.#clock()
    const reason = `${hasExpired} ${error instanceof Error ? error.message : String(error)}`
    if (reason === this.#lastReason) return
    this.#lastReason = reason
    const { hosts, logger } = this.#options
    const again = new Date(this.#due)
    logger.error({ error, hosts, expires, again }, 'no certificate was issued: what there is stays in use')
  }
}

function newAccount(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

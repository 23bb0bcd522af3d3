// Requests to one upstream with all that HTTP asks for on the way: authorization, and redirects followed by hand.
import type { RepositoryName } from '../oci/reference.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { RequestTracer } from '../registry/request-tracer.ts'
import type { UpstreamCondition } from '../registry/upstream-source.ts'
import { silentLogger, type Logger } from '../telemetry/logger.ts'
import type { Answer } from './answer.ts'
import { Authorizer, type Access, type Authorization } from './authorizer.ts'
import { Bounds, type Resolve } from './bounds.ts'
import { Breaker } from './breaker.ts'
import { Budget } from './budget.ts'
import { anonymousAccess, type CredentialSource } from './credentials.ts'
import { Holds, type RequestClass } from './holds.ts'
import type { HttpProxies } from './http-proxy.ts'
import { isRedirect, maxRedirects, nextHop } from './redirect.ts'
import { Refusals } from './refusals.ts'
import { parseRetryAfter } from './retry-after.ts'
import { TokenCache } from './token-cache.ts'
import type { TlsOptions } from './tls.ts'
import { CrowdedError, Transport, type OutgoingRequest, type Timeouts, type Traffic } from './transport.ts'

export interface SessionOptions {
  /** May have a path before `/v2/`. */
  readonly url: URL
  readonly credentials: CredentialSource
  /** Token servers, besides the upstream's own origin, that credentials may go to. */
  readonly realms: readonly URL[]
  readonly timeouts: Timeouts
  readonly tls?: TlsOptions | undefined
  /** What requests go out through; without, by themselves. */
  readonly proxies?: HttpProxies | undefined
  /** Looks names up; the system's way without it. */
  readonly resolve?: Resolve | undefined
  /** How many of the pulls that it grants us are kept for what cannot wait. */
  readonly reserve: number
  readonly userAgent: string
  readonly tracer?: RequestTracer | undefined
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
  readonly logger: Logger
}

export interface SessionRequest {
  readonly method: 'GET' | 'HEAD'
  readonly kind: 'manifest' | 'blob' | 'list'
  readonly repository: RepositoryName
  /** Behind `/v2/<repository>/`, or a whole URL that an answer named. */
  readonly target: string | URL
  /** Kept across redirects. None of them may be a secret. */
  readonly headers: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** Registries that redirects led to, whose challenges are remembered. */
const maxStrangers = 32

/** Milliseconds that a probe in a hurry may take to its headers, a token included. */
const probePatience = 3000

export class Session implements AsyncDisposable {
  /** Of the upstream itself. */
  readonly host: string
  readonly #options: SessionOptions
  readonly #base: string
  readonly #origin: string
  readonly #bounds: Bounds
  readonly #transport: Transport
  readonly #tokens: TokenCache
  readonly #refusals = new Refusals()
  readonly #breaker: Breaker
  readonly #holds: Holds
  readonly #budget: Budget | undefined
  readonly #own: Authorizer
  readonly #strangers = new Map<string, Authorizer>()

  /** @param lender whose connections it uses, and whose word on the upstream's health it heeds, instead of its own */
  constructor(options: SessionOptions, lender?: Session) {
    const { url, logger, credentials, realms, resolve, reserve, clock } = options
    this.#options = options
    this.host = url.host
    this.#origin = url.origin
    this.#base = `${url.origin}${url.pathname.replace(/\/+$/, '')}/v2`
    this.#bounds = lender === undefined ? new Bounds({ upstream: url, realms, resolve }) : lender.#bounds
    this.#transport = lender === undefined ? new Transport({ ...options, bounds: this.#bounds }) : lender.#transport
    this.#tokens = new TokenCache({
      onRenewalFailure: (error) => logger.warn({ host: url.host, error }, 'a token could not be renewed ahead of time'),
    })
    this.#breaker = lender === undefined ? new Breaker({ host: url.host, logger, clock }) : lender.#breaker
    // What the upstream counts of somebody else's account holds nobody back but him, and is no news of ours.
    this.#holds = new Holds({ logger: lender === undefined ? logger : silentLogger, clock })
    this.#budget = lender === undefined ? new Budget({ host: url.host, reserve, logger, clock }) : undefined
    this.#own = this.#authorizer(url, credentials, realms)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  /**
   * The same upstream for somebody else: no token, refusal or challenge of anybody's is his, nor are his anybody's. Its
   * connections are these here, which it does not close.
   */
  as(credentials: CredentialSource): Session {
    return new Session({ ...this.#options, credentials }, this)
  }

  condition(): UpstreamCondition {
    return { isReachable: !this.#breaker.isOpen, pullsLeft: this.#budget?.left }
  }

  traffic(): Traffic {
    return this.#transport.traffic()
  }

  /** Whether an answer came from another host than the upstream, where a redirect led to. */
  isForeign(answer: Answer): boolean {
    return answer.url.origin !== this.#origin
  }

  /**
   * Any answer but a redirect, its body still to be dealt with by the caller.
   * @throws UpstreamError; the signal's reason
   */
  async send({ method, kind, repository, target, headers, signal }: SessionRequest): Promise<Answer> {
    let url = typeof target === 'string' ? new URL(`${this.#base}/${repository}/${target}`) : target
    const own = `repository:${repository}:pull`
    let scope = url.origin === this.#origin ? own : scopeOf(url, own) // a list goes on where a redirect has led it
    const began = this.#tokens.now()
    const isLong = kind === 'blob' && method === 'GET'
    const what = kind === 'manifest' && method === 'HEAD' ? 'manifest-head' : kind
    for (let redirects = 0; ; redirects += 1) {
      const access = { repository, scope, began, signal }
      const request = { method, url, headers, isLong, signal }
      const isOwn = url.origin === this.#origin
      this.#holds.check(url, what)
      const answer = await (isOwn ? this.#sendOwn(request, access) : this.#sendAuthorized(request, access))
      this.#note(answer, what)
      if (!isRedirect(answer.status)) return answer
      await answer.discard()
      if (redirects === maxRedirects) {
        throw new UpstreamError('invalid', this.host, `${this.host} redirects more than ${maxRedirects} times`)
      }
      url = this.#bounds.admit(nextHop(url, answer.header('location')))
      scope = scopeOf(url, scope)
    }
  }

  #note(answer: Answer, what: RequestClass): void {
    if (answer.status !== 429) return this.#holds.release(answer.url, what)
    this.#holds.hold(answer.url, what, parseRetryAfter(answer.header('retry-after')))
  }

  /** A request to the upstream itself, as far as its breaker lets it through; hosts that it redirects to have none. */
  async #sendOwn(request: OutgoingRequest, access: Access): Promise<Answer> {
    using passage = this.#breaker.enter()
    using deadline = passage.isHurried ? this.#deadline(request.signal) : undefined
    const signal = deadline?.signal ?? request.signal
    try {
      const answer = await this.#sendAuthorized({ ...request, signal }, { ...access, signal })
      this.#budget?.note(answer.header('ratelimit-limit'), answer.header('ratelimit-remaining'))
      const trouble = troubleOf(answer)
      if (trouble === undefined) passage.succeed()
      else passage.fail(trouble)
      return answer
    } catch (error) {
      if (isTrouble(error)) passage.fail(error)
      else if (isAnswer(error)) passage.succeed()
      throw error
    }
  }

  /** Fires with the caller's signal, and when a probe takes too long; disposed of, only with the caller's. */
  #deadline(callers: AbortSignal | undefined): Disposable & { readonly signal: AbortSignal } {
    const late = new AbortController()
    const error = new UpstreamError('timeout', this.host, `${this.host} did not answer in time`)
    const timer = setTimeout(() => late.abort(error), probePatience)
    return {
      signal: callers === undefined ? late.signal : AbortSignal.any([callers, late.signal]),
      [Symbol.dispose]: () => clearTimeout(timer),
    }
  }

  async #sendAuthorized(request: OutgoingRequest, access: Access): Promise<Answer> {
    const authorizer = this.#authorizerOf(request.url)
    const shown = await authorizer.authorize(access)
    const answer = await this.#transport.send(withAuthorization(request, shown))
    if (answer.status === 403 && shown?.isSecret === true) return await this.#tryRenewed(answer, request, shown, access)
    if (answer.status !== 401) return answer
    await answer.discard()
    const next = await authorizer.challenged(answer.headerLines('www-authenticate'), shown, access)
    if (next === undefined) return await giveUp(answer, shown)
    return await giveUp(await this.#transport.send(withAuthorization(request, next)), next)
  }

  /** A 403 may be about the object, or say that a password has run out, as those of ECR do after twelve hours. */
  async #tryRenewed(answer: Answer, request: OutgoingRequest, shown: Authorization, access: Access): Promise<Answer> {
    try {
      const renewed = await this.#authorizerOf(request.url).renew(shown, access)
      if (renewed === undefined) return answer
      await answer.discard()
      return await this.#transport.send(withAuthorization(request, renewed))
    } catch (error) {
      await answer.abandon()
      throw error
    }
  }

  #authorizerOf(url: URL): Authorizer {
    if (url.origin === this.#origin) return this.#own
    let stranger = this.#strangers.get(url.origin)
    if (stranger === undefined) {
      for (const oldest of this.#strangers.keys()) {
        if (this.#strangers.size < maxStrangers) break
        this.#strangers.delete(oldest)
      }
      stranger = this.#authorizer(new URL(url.origin), anonymousAccess(), [])
      this.#strangers.set(url.origin, stranger)
    }
    return stranger
  }

  #authorizer(registry: URL, credentials: CredentialSource, realms: readonly URL[]): Authorizer {
    return new Authorizer({
      registry,
      credentials,
      realms,
      bounds: this.#bounds,
      transport: this.#transport,
      tokens: this.#tokens,
      refusals: this.#refusals,
      holds: this.#holds,
      logger: this.#options.logger,
    })
  }
}

/** A redirect may lead to another repository of another registry: the scope is the one that its URL names. */
function scopeOf(url: URL, scope: string): string {
  const name = /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname)?.[1]
  return name === undefined ? scope : `repository:${name}:pull`
}

function withAuthorization(request: OutgoingRequest, shown: Authorization | undefined): OutgoingRequest {
  return shown === undefined ? request : { ...request, headers: { ...request.headers, authorization: shown.header } }
}

/** What an answer says of its host's health: 501 is about the method, all below 500 about the request. */
function troubleOf({ host, status }: Answer): UpstreamError | undefined {
  if (status < 500 || status === 501) return undefined
  return new UpstreamError('unavailable', host, `${host} answered ${status}`, { status })
}

/** No answer from the upstream or its token server, or none that is worth the name. */
function isTrouble(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError) || error instanceof CrowdedError) return false
  return /^(?:unreachable|timeout|unavailable)$/.test(error.failure)
}

/** An answer that became an error on the way; what was remembered of an older one has no status. */
function isAnswer(error: unknown): boolean {
  return error instanceof UpstreamError && error.status !== undefined
}

/** Credentials that were shown themselves and refused with 401 are wrong, whatever the object. */
async function giveUp(answer: Answer, shown: Authorization | undefined): Promise<Answer> {
  if (answer.status !== 401 || shown === undefined) return answer
  const { host, status } = answer
  const error = new UpstreamError('credentials-refused', host, `${host} does not accept the credentials`, { status })
  shown.giveUp(error)
  if (!shown.isSecret) return answer
  await answer.discard()
  throw error
}

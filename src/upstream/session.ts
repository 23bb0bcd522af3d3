// Requests to one upstream with all that HTTP asks for on the way: authorization, and redirects followed by hand.
import type { RepositoryName } from '../oci/reference.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Answer } from './answer.ts'
import { Authorizer, type Access, type Authorization } from './authorizer.ts'
import { Bounds, type Resolve } from './bounds.ts'
import { anonymousAccess, type CredentialSource } from './credentials.ts'
import { isRedirect, maxRedirects, nextHop } from './redirect.ts'
import { Refusals } from './refusals.ts'
import { TokenCache } from './token-cache.ts'
import { Transport, type OutgoingRequest, type Timeouts } from './transport.ts'

export interface SessionOptions {
  /** May have a path before `/v2/`. */
  readonly url: URL
  readonly credentials: CredentialSource
  /** Token servers, besides the upstream's own origin, that credentials may go to. */
  readonly realms: readonly URL[]
  readonly timeouts: Timeouts
  /** Looks names up; the system's way without it. */
  readonly resolve?: Resolve | undefined
  readonly userAgent: string
  readonly logger: Logger
}

export interface SessionRequest {
  readonly method: 'GET' | 'HEAD'
  readonly repository: RepositoryName
  /** Behind `/v2/<repository>/`, or a whole URL that an answer named. */
  readonly target: string | URL
  /** Kept across redirects. None of them may be a secret. */
  readonly headers: Readonly<Record<string, string>>
  /** As `OutgoingRequest.isLong`. */
  readonly isLong?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Registries that redirects led to, whose challenges are remembered. */
const maxStrangers = 32

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
  readonly #own: Authorizer
  readonly #strangers = new Map<string, Authorizer>()

  constructor(options: SessionOptions) {
    const { url, logger, credentials, realms, resolve } = options
    this.#options = options
    this.host = url.host
    this.#origin = url.origin
    this.#base = `${url.origin}${url.pathname.replace(/\/+$/, '')}/v2`
    this.#bounds = new Bounds({ upstream: url, realms, resolve })
    this.#transport = new Transport({ ...options, bounds: this.#bounds })
    this.#tokens = new TokenCache({
      onRenewalFailure: (error) => logger.warn({ host: url.host, error }, 'a token could not be renewed ahead of time'),
    })
    this.#own = this.#authorizer(url, credentials, realms)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  /** Whether an answer came from another host than the upstream, where a redirect led to. */
  isForeign(answer: Answer): boolean {
    return answer.url.origin !== this.#origin
  }

  /**
   * Any answer but a redirect, its body still to be dealt with by the caller.
   * @throws UpstreamError; the signal's reason
   */
  async send({ method, repository, target, headers, isLong, signal }: SessionRequest): Promise<Answer> {
    let url = typeof target === 'string' ? new URL(`${this.#base}/${repository}/${target}`) : target
    let scope = `repository:${repository}:pull`
    const began = this.#tokens.now()
    for (let redirects = 0; ; redirects += 1) {
      const access = { repository, scope, began, signal }
      const answer = await this.#sendAuthorized({ method, url, headers, isLong, signal }, access)
      if (!isRedirect(answer.status)) return answer
      await answer.discard()
      if (redirects === maxRedirects) {
        throw new UpstreamError('invalid', this.host, `${this.host} redirects more than ${maxRedirects} times`)
      }
      url = this.#bounds.admit(nextHop(url, answer.header('location')))
      scope = scopeOf(url, scope)
    }
  }

  async #sendAuthorized(request: OutgoingRequest, access: Access): Promise<Answer> {
    const authorizer = this.#authorizerOf(request.url)
    const shown = await authorizer.authorize(access)
    const answer = await this.#transport.send(withAuthorization(request, shown))
    if (answer.status !== 401) return answer
    await answer.discard()
    const next = await authorizer.challenged(answer.headerLines('www-authenticate'), shown, access)
    if (next === undefined) return await giveUp(answer, shown)
    return await giveUp(await this.#transport.send(withAuthorization(request, next)), next)
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

// One registry's authorization: what it challenged us with, remembered, and answered with a token or a password before
// it asks again. Each registry that a redirect leads to has one of its own, which knows no credentials.
import type { RepositoryName } from '../oci/reference.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import { parseChallenges, type Challenge } from './challenge.ts'
import {
  basicAuthorization,
  CredentialsError,
  sameCredentials,
  type Credentials,
  type CredentialSource,
} from './credentials.ts'
import type { Bounds } from './bounds.ts'
import type { Holds } from './holds.ts'
import { parseRealm } from './realm.ts'
import type { Refusals } from './refusals.ts'
import type { TokenCache } from './token-cache.ts'
import { fetchToken, type TokenRequest } from './token-server.ts'
import type { Transport } from './transport.ts'

export interface AuthorizerOptions {
  /** The registry's base: what comes before `/v2/`. */
  readonly registry: URL
  readonly credentials: CredentialSource
  readonly realms: readonly URL[]
  readonly bounds: Bounds
  readonly transport: Transport
  readonly tokens: TokenCache
  readonly refusals: Refusals
  readonly holds: Holds
  readonly logger: Logger
}

/** What is asked for, and on whose behalf. */
export interface Access {
  readonly repository: RepositoryName
  /** `repository:<name>:pull`, built by us: a challenge's own scope may be a placeholder. */
  readonly scope: string
  /** When the request began, by the clock of the tokens. */
  readonly began: number
  readonly signal?: AbortSignal | undefined
}

/** A header to show, and what to do should it be refused. */
export interface Authorization {
  readonly header: string
  /** Whether the header holds configured credentials themselves, rather than a token that was had for them. */
  readonly isSecret: boolean
  /** Before something else is tried. */
  forget(): void
  /** Where nothing else is left to try. */
  giveUp(error: UpstreamError): void
}

export class Authorizer {
  readonly #options: AuthorizerOptions
  /** The last one that could be answered. */
  #challenge: Challenge | undefined

  constructor(options: AuthorizerOptions) {
    this.#options = options
  }

  /** What to show at once; `undefined` as long as the registry has not asked for anything. */
  async authorize(access: Access): Promise<Authorization | undefined> {
    if (this.#challenge === undefined) return undefined
    try {
      return await this.#answer(this.#challenge, access)
    } catch (error) {
      // The token server may have moved: let the registry say where it is now.
      if (!isRefusal(error) && access.signal?.aborted !== true) this.#challenge = undefined
      throw error
    }
  }

  /**
   * What to show after a 401 to `shown`; `undefined` where there is nothing else to try.
   * @param lines the answer's `WWW-Authenticate`
   */
  async challenged(
    lines: readonly string[],
    shown: Authorization | undefined,
    access: Access,
  ): Promise<Authorization | undefined> {
    shown?.forget()
    const offered = choose(parseChallenges(lines))
    // Harbor asks whoever has shown anything for a password, be it a token that is good, but not for this.
    const isOfToken = shown?.isSecret === false && offered?.scheme === 'basic' && this.#challenge?.scheme === 'bearer'
    const challenge = (isOfToken ? this.#challenge : offered) ?? this.#challenge ?? (await this.#ping(access))
    if (challenge === undefined) return undefined
    try {
      const next = await this.#answer(challenge, access)
      // Should it not be taken either, the next request shows nothing, and hears what the registry asks of everybody.
      if (isOfToken) this.#challenge = undefined
      if (next === undefined || next.header === shown?.header) return undefined
      if (!isOfToken) this.#challenge = challenge
      return next
    } catch (error) {
      if (isHeldBack(error)) this.#challenge = challenge // the registry need not be asked again to hear the same
      throw error
    }
  }

  /** What to show instead of credentials that may have run out; `undefined` where their source has no others. */
  async renew(shown: Authorization, access: Access): Promise<Authorization | undefined> {
    shown.forget()
    const next = await this.authorize(access)
    return next?.header === shown.header ? undefined : next
  }

  /** Registries exist whose 401 names no challenge: `/v2/` does (distribution: «API version check»). */
  async #ping({ signal }: Access): Promise<Challenge | undefined> {
    const { registry, transport } = this.#options
    const url = new URL(`${registry.origin}${registry.pathname.replace(/\/+$/, '')}/v2/`)
    const answer = await transport.send({ method: 'GET', url, headers: {}, signal })
    await answer.discard()
    return answer.status === 401 ? choose(parseChallenges(answer.headerLines('www-authenticate'))) : undefined
  }

  async #answer(challenge: Challenge, access: Access): Promise<Authorization | undefined> {
    const credentials = await this.#credentials(access.repository)
    if (credentials.kind === 'registry-token') return this.#show(`Bearer ${credentials.token}`, credentials)
    if (challenge.scheme === 'bearer') return await this.#bearer(challenge, access, credentials)
    if (credentials.kind !== 'password') return undefined
    return this.#show(basicAuthorization(credentials.username, credentials.password), credentials)
  }

  /** @throws UpstreamError where they were refused a moment ago */
  #show(header: string, credentials: Credentials): Authorization {
    const { registry, refusals, credentials: source } = this.#options
    refusals.check(registry.origin, credentials)
    return {
      header,
      isSecret: true,
      forget: () => source.refused(credentials),
      giveUp: (error) => refusals.remember(registry.origin, credentials, error),
    }
  }

  async #bearer(
    challenge: Challenge,
    access: Access,
    credentials: TokenRequest['credentials'],
  ): Promise<Authorization | undefined> {
    const { registry, realms, bounds, tokens, refusals } = this.#options
    const secret = credentials.kind !== 'anonymous'
    const realm = parseRealm(challenge.parameters.get('realm') ?? '', { registry, realms, secret, bounds })
    const service = challenge.parameters.get('service')
    // The registry is part of the key: what one was given is never shown to another that names the same realm.
    const who = credentials.kind === 'password' ? credentials.username : ''
    const key = JSON.stringify([registry.origin, realm.href, service, access.scope, credentials.kind, who])
    const value = await tokens.get(
      key,
      async () => {
        refusals.check(key, credentials)
        this.#options.logger.debug({ host: registry.host, realm: realm.host, scope: access.scope }, 'fetching a token')
        return await this.#fetchToken({ realm, service, scope: access.scope, credentials }, access.repository, key)
      },
      access.signal,
    )
    const forget = (): void => tokens.refused(key, value, access.began)
    return { header: `Bearer ${value}`, isSecret: false, forget, giveUp: forget }
  }

  /** Credentials that are refused may have been remembered for too long: their source is asked once more. */
  async #fetchToken(request: TokenRequest, repository: RepositoryName, key: string): ReturnType<typeof fetchToken> {
    const { credentials } = this.#options
    try {
      return await this.#ask(request, key)
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.failure !== 'credentials-refused') throw error
      credentials.refused(request.credentials)
      const renewed = await this.#credentials(repository)
      if (renewed.kind === 'registry-token' || sameCredentials(renewed, request.credentials)) throw error
      return await this.#ask({ ...request, credentials: renewed }, key)
    }
  }

  async #ask(request: TokenRequest, key: string): ReturnType<typeof fetchToken> {
    const { transport, refusals, holds } = this.#options
    holds.check(request.realm, 'token')
    try {
      const token = await fetchToken(transport, request)
      holds.release(request.realm, 'token')
      return token
    } catch (error) {
      if (isHeldBack(error)) holds.hold(request.realm, 'token', error.retryAfter)
      const isFinal = error instanceof UpstreamError && /^(?:denied|credentials-refused)$/.test(error.failure)
      if (isFinal) refusals.remember(key, request.credentials, error)
      throw error
    }
  }

  async #credentials(repository: RepositoryName): Promise<Credentials> {
    const { credentials, registry } = this.#options
    try {
      return await credentials.get(repository)
    } catch (cause) {
      if (!(cause instanceof CredentialsError)) throw cause
      const { host } = registry
      throw new UpstreamError('credentials-refused', host, `no credentials for ${host}: ${cause.message}`, { cause })
    }
  }
}

function isHeldBack(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.failure === 'rate-limited'
}

/** A token server's own no, as opposed to its giving no answer. */
function isRefusal(error: unknown): boolean {
  return error instanceof UpstreamError && /^(?:denied|credentials-refused|rate-limited)$/.test(error.failure)
}

/** Bearer before Basic: where a registry offers both, a token is good for less than a password. */
function choose(challenges: readonly Challenge[]): Challenge | undefined {
  return (
    challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm')) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  )
}

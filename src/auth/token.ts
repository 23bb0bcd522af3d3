// Bearer tokens (JWT, RFC 7519) of a token server, as distribution has them: what they are signed with is looked up in what
// is configured, never in the token.
import { errors, jwtVerify, type JWTPayload } from 'jose'
import { findAmbiguousKey } from '../oci/ambiguous-keys.ts'
import type { AccessFacts, AccessRecord } from '../registry/access.ts'
import type { Logger } from '../telemetry/logger.ts'
import { keyOfChain, parseTrust, type Trust } from './certificates.ts'
import { bearerChallenge } from './challenge.ts'
import type { ChallengeError, Controller, Unverified, Verified } from './controller.ts'
import { RemoteKeys } from './remote-keys.ts'
import { isObject, KeyError, parseKeySet, type TrustedKey } from './trusted-keys.ts'
import { WatchedFile } from './watched-file.ts'

export interface TokenSettings {
  readonly realm: string
  readonly service: string
  readonly issuer: string
  /** A file of certificates in PEM. */
  readonly rootCertBundle: string | undefined
  /** A file, or where it is fetched. */
  readonly jwks: string | URL | undefined
  /** `undefined`: those that the keys allow. */
  readonly signingAlgorithms: readonly string[] | undefined
  /** The path below our own address that clients are sent to instead of `realm`. */
  readonly autoRedirectPath: string | undefined
}

export interface TokenOptions extends TokenSettings {
  /** How clients reach us, where it is configured. */
  readonly externalUrl: URL | undefined
  readonly logger: Logger
  /** Milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined
  /** In milliseconds, never set back; for tests. */
  readonly clock?: (() => number) | undefined
}

const maxToken = 8192

/** Seconds that two clocks may be apart (T-58). */
const leeway = 60

const everyAlgorithm = ['RS', 'PS', 'ES', 'HS']
  .flatMap((family) => ['256', '384', '512'].map((bits) => `${family}${bits}`))
  .concat('EdDSA')

/** Headers by which a token would say itself what it is to be checked with, or how: none of them is obeyed. */
const foreignHeaders = ['jwk', 'jku', 'x5u', 'crit', 'b64', 'zip', 'enc']

/** A token that is not good. The message is a constant phrase. */
class TokenError extends Error {
  override readonly name = 'TokenError'
}

/** Where keys that are trusted come from. */
interface KeySources {
  readonly bundle: WatchedFile<Trust> | undefined
  readonly set: WatchedFile<ReadonlyMap<string, TrustedKey>> | undefined
  readonly remote: RemoteKeys | undefined
}

export class TokenController implements Controller {
  readonly #options: TokenOptions
  readonly #sources: KeySources

  private constructor(options: TokenOptions, sources: KeySources) {
    this.#options = options
    this.#sources = sources
  }

  /** Keys that are fetched may come later. @throws AccessSetupError where a file cannot be read, or has no keys */
  static async open(options: TokenOptions): Promise<TokenController> {
    const { rootCertBundle, jwks, logger, clock } = options
    const open = async <T>(name: string, path: string, parse: (text: string) => T): Promise<WatchedFile<T>> =>
      await WatchedFile.open({ key: `auth.token.${name}`, path, parse, logger, clock })
    const sources = {
      bundle: rootCertBundle === undefined ? undefined : await open('rootcertbundle', rootCertBundle, parseTrust),
      set: typeof jwks === 'string' ? await open('jwks', jwks, parseOwnSet) : undefined,
      remote: jwks instanceof URL ? new RemoteKeys({ url: jwks, logger }) : undefined,
    }
    void sources.remote?.refresh()
    return new TokenController(options, sources)
  }

  async verify({ authorization = '' }: AccessFacts, records: readonly AccessRecord[]): Promise<Verified | Unverified> {
    const [, token] = /^bearer +(\S+)$/i.exec(authorization.slice(0, maxToken + 100)) ?? []
    if (token === undefined) return { reason: 'no token' }
    try {
      const claims = await this.#claimsOf(token)
      const granted = accessOf(claims)
      if (!records.every((record) => granted.some((entry) => grants(entry, record)))) {
        return { reason: 'not in the scope of the token', error: 'insufficient_scope' }
      }
      return { user: claims.sub ?? '', claims }
    } catch (error) {
      return { reason: reasonOf(error), error: 'invalid_token' }
    }
  }

  challenge({ host }: AccessFacts, records: readonly AccessRecord[], error?: ChallengeError): string {
    const { service } = this.#options
    return bearerChallenge({ realm: this.#realm(host), service, records, error })
  }

  /** Where nothing is configured, the client's own word for us is the only one; that we are reached by https is certain. */
  #realm(host: string | undefined): string {
    const { realm, autoRedirectPath, externalUrl } = this.#options
    if (autoRedirectPath === undefined) return realm
    if (externalUrl !== undefined) return `${externalUrl.origin}${autoRedirectPath}`
    if (host === undefined || !/^[\w.-]+(?::\d+)?$|^\[[\da-f:.]+\](?::\d+)?$/i.test(host)) return realm
    return `https://${host}${autoRedirectPath}`
  }

  async #claimsOf(token: string): Promise<JWTPayload> {
    checkForm(token)
    const now = this.#options.now?.() ?? Date.now()
    const { payload } = await jwtVerify(token, async (header) => (await this.#keyFor(header, new Date(now))).key, {
      algorithms: [...(this.#options.signingAlgorithms ?? everyAlgorithm)],
      issuer: this.#options.issuer,
      audience: this.#options.service,
      clockTolerance: leeway,
      currentDate: new Date(now),
      requiredClaims: ['exp'],
    })
    for (const time of [payload.exp, payload.nbf]) {
      if (time !== undefined && !Number.isFinite(time)) throw new TokenError('a time is no number')
    }
    if (payload.sub !== undefined && typeof payload.sub !== 'string') throw new TokenError('its subject is no text')
    return payload
  }

  /** @throws KeyError, TokenError where it is signed by nobody that we trust, or not in the way that goes with the key */
  async #keyFor({ alg, kid, x5c }: Readonly<Record<string, unknown>>, now: Date): Promise<TrustedKey> {
    const key = x5c === undefined ? await this.#named(kid) : await this.#ofChain(x5c, now)
    if (typeof alg !== 'string' || !key.algorithms.includes(alg)) throw new TokenError('its algorithm is not the key’s')
    return key
  }

  async #ofChain(x5c: unknown, now: Date): Promise<TrustedKey> {
    const trust = await this.#sources.bundle?.content()
    return keyOfChain(x5c, trust?.roots ?? [], now)
  }

  async #named(kid: unknown): Promise<TrustedKey> {
    const key = typeof kid === 'string' ? await this.#find(kid) : undefined
    if (key === undefined) throw new TokenError('signed by no key that is trusted')
    return key
  }

  async #find(kid: string): Promise<TrustedKey | undefined> {
    const { bundle, set, remote } = this.#sources
    const own = (await set?.content())?.get(kid) ?? (await bundle?.content())?.keys.get(kid)
    return own ?? (await remote?.find(kid))
  }
}

function parseOwnSet(text: string): ReadonlyMap<string, TrustedKey> {
  return parseKeySet(text, { allowsSecrets: true })
}

/**
 * Three parts, each the only text that stands for its bytes, and two of them objects without a key that is given twice.
 * @throws TokenError
 */
function checkForm(token: string): void {
  if (token.length > maxToken) throw new TokenError('too long')
  const parts = token.split('.', 4)
  const decoded = parts.map((part) => Buffer.from(part, 'base64url'))
  if (parts.length !== 3 || decoded.some((bytes, index) => bytes.toString('base64url') !== parts[index])) {
    throw new TokenError('malformed')
  }
  const [header, payload] = decoded
  for (const [index, bytes] of [header, payload].entries()) {
    const document = parseObject(bytes)
    if (index === 0 && foreignHeaders.some((name) => Object.hasOwn(document, name))) {
      throw new TokenError('it names keys or ways of its own')
    }
  }
}

function parseObject(bytes: Buffer | undefined): Record<string, unknown> {
  const text = bytes?.toString('utf8') ?? ''
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new TokenError('malformed', { cause })
  }
  if (!isObject(document) || findAmbiguousKey(text, new Map()) !== undefined) throw new TokenError('malformed')
  return document
}

interface Entry {
  readonly type: string
  readonly name: string
  readonly actions: readonly string[]
}

/** The `access` claim; a token without one is good for coming in. @throws TokenError */
function accessOf({ access }: JWTPayload): readonly Entry[] {
  if (access === undefined || access === null) return []
  if (!Array.isArray(access)) throw new TokenError('its access is no list')
  return access.map((entry: unknown) => {
    if (!isObject(entry)) throw new TokenError('its access is no list of rights')
    const { type, name, actions } = entry
    if (typeof type !== 'string' || typeof name !== 'string' || !isTexts(actions)) {
      throw new TokenError('its access is no list of rights')
    }
    return { type, name, actions: actions ?? [] }
  })
}

function isTexts(value: unknown): value is readonly string[] | null | undefined {
  return (
    value === undefined || value === null || (Array.isArray(value) && value.every((one) => typeof one === 'string'))
  )
}

/** By their literal names; `*` is how older token servers write the right to delete, and all others. */
function grants({ type, name, actions }: Entry, record: AccessRecord): boolean {
  return type === record.type && name === record.name && (actions.includes(record.action) || actions.includes('*'))
}

/** @throws whatever says nothing about the token */
function reasonOf(error: unknown): string {
  if (error instanceof TokenError || error instanceof KeyError) return error.message
  if (error instanceof errors.JOSEError) return error.code
  throw error
}

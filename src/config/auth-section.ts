// `auth`: who may do what. A guard that is only half described is refused: an open door would be the alternative.
import { ConfigError, misfit } from './config-error.ts'
import { flag, leaf, oneOf, text } from './leaf.ts'
import { resolvePath } from './named-file.ts'
import { findNetwork } from './network.ts'
import { freeMap, list, mapOf, section, type ResolveContext, type Schema } from './section.ts'

/** Who may do what. */
export interface AuthConfig {
  readonly controller: AuthController
  readonly anonymous: readonly AnonymousConfig[]
  /** `undefined`: what the controller grants is granted. */
  readonly policy: readonly AccessPolicyConfig[] | undefined
}

export type AuthController =
  | { readonly kind: 'silly'; readonly realm: string; readonly service: string }
  /** The path is absolute. */
  | { readonly kind: 'htpasswd'; readonly realm: string; readonly path: string }
  | ({ readonly kind: 'token' } & TokenConfig)

export interface TokenConfig {
  readonly realm: string
  readonly service: string
  readonly issuer: string
  /** A file of certificates in PEM, absolute; this or `jwks` is there. */
  readonly rootCertBundle: string | undefined
  /** A file, absolute, or a URL. */
  readonly jwks: string | URL | undefined
  /** `undefined`: those that the keys allow. */
  readonly signingAlgorithms: readonly string[] | undefined
  /** The path below our own address that clients are sent to instead of `realm`. */
  readonly autoRedirectPath: string | undefined
}

export interface AnonymousConfig {
  /** Globs, of names in our storage. */
  readonly repositories: readonly string[]
  /** CIDR; `undefined`: anywhere. */
  readonly networks: readonly string[] | undefined
  readonly actions: readonly 'pull'[]
}

export interface AccessPolicyConfig {
  /** `*`: everybody; `undefined`: the claims decide. */
  readonly users: readonly string[] | undefined
  readonly claims: Readonly<Record<string, readonly string[]>>
  readonly actions: readonly ('pull' | 'push' | 'delete' | 'catalog' | '*')[]
  /** Globs, of names in our storage. */
  readonly repositories: readonly string[]
}

interface SillyInput {
  readonly realm?: string | undefined
  readonly service?: string | undefined
}

interface HtpasswdInput {
  readonly realm?: string | undefined
  readonly path?: string | undefined
}

interface TokenInput {
  readonly realm?: string | undefined
  readonly service?: string | undefined
  readonly issuer?: string | undefined
  readonly rootcertbundle?: string | undefined
  readonly jwks?: string | undefined
  readonly signingalgorithms?: string[] | undefined
  readonly autoredirect?: boolean | undefined
  readonly autoredirectpath?: string | undefined
}

interface AnonymousInput {
  readonly repositories?: string[] | undefined
  readonly networks?: string[] | undefined
  readonly actions?: 'pull'[] | undefined
}

interface PolicyInput {
  readonly users?: string[] | undefined
  readonly claims?: Record<string, string[]> | undefined
  readonly actions?: AccessPolicyConfig['actions'][number][] | undefined
  readonly repositories?: string[] | undefined
}

export interface AuthInput {
  readonly none?: Record<string, unknown> | undefined
  readonly silly?: SillyInput | undefined
  readonly htpasswd?: HtpasswdInput | undefined
  readonly token?: TokenInput | undefined
  readonly anonymous?: AnonymousInput[] | undefined
  readonly policy?: PolicyInput[] | undefined
}

const algorithms = ['RS', 'PS', 'ES', 'HS'].flatMap((family) => [256, 384, 512].map((bits) => `${family}${bits}`))

const algorithm = leaf(`EdDSA or one of ${algorithms.join(', ')}`, (value) =>
  ['EdDSA', ...algorithms].find((one) => one === value),
)

const network = leaf('a network such as 10.0.0.0/8 or 2001:db8::/32, or an address', (value) =>
  findNetwork(value) === undefined ? undefined : value,
)

const globForm = 'a glob of repository names, such as docker.io/library/**'

const glob = leaf(globForm, (value) => (/^[a-z0-9._*/-]+$/.test(value) ? value : undefined))

/** Below our own address: a `//` would name another host. */
const redirectPath = leaf('a path such as /auth/token', (value) =>
  /^\/(?!\/)[\w.~!$&'()*+,;=:@%/-]*$/.test(value) ? value : undefined,
)

export const authSchema: Schema<AuthInput> = section({
  none: freeMap,
  silly: section({ realm: text, service: text }),
  htpasswd: section({ realm: text, path: text }),
  token: section({
    realm: text,
    service: text,
    issuer: text,
    rootcertbundle: text,
    jwks: text,
    signingalgorithms: list(algorithm),
    autoredirect: flag,
    autoredirectpath: redirectPath,
  }),
  anonymous: list(section({ repositories: list(glob), networks: list(network), actions: list(oneOf(['pull'])) })),
  policy: list(
    section({
      users: list(text),
      claims: mapOf(list(text)),
      actions: list(oneOf(['pull', 'push', 'delete', 'catalog', '*'])),
      repositories: list(glob),
    }),
  ),
})

const kinds = ['none', 'silly', 'htpasswd', 'token'] as const

/** @throws ConfigError where there is not exactly one controller, or it lacks what it needs */
export function resolveAuth(input: AuthInput, context: ResolveContext): AuthConfig | undefined {
  const found = kinds.filter((kind) => input[kind] !== undefined)
  if (found.length > 1) {
    throw new ConfigError(`auth: found ${found.join(' and ')}, expected exactly one of silly, htpasswd and token`)
  }
  const controller = resolveController(input, context)
  if (controller === undefined) {
    const alone = (['anonymous', 'policy'] as const).find((key) => input[key] !== undefined)
    if (alone === undefined) return undefined
    throw new ConfigError(`auth.${alone}: needs auth.htpasswd or auth.token beside it: without it the doors are open`)
  }
  return {
    controller,
    anonymous: (input.anonymous ?? []).map(resolveAnonymous),
    policy: input.policy?.map(resolvePolicyRule),
  }
}

function resolveController(input: AuthInput, context: ResolveContext): AuthController | undefined {
  const { silly, htpasswd, token } = input
  if (silly !== undefined) {
    context.warn('auth.silly lets everybody in who sends any credentials: it is for tests')
    return { kind: 'silly', realm: needed(silly, 'silly', 'realm'), service: needed(silly, 'silly', 'service') }
  }
  if (htpasswd !== undefined) {
    const path = resolvePath(needed(htpasswd, 'htpasswd', 'path'), context)
    return { kind: 'htpasswd', realm: needed(htpasswd, 'htpasswd', 'realm'), path }
  }
  return token === undefined ? undefined : { kind: 'token', ...resolveToken(token, context) }
}

function needed<Key extends string>(
  input: { readonly [K in Key]?: string | undefined },
  kind: string,
  key: Key,
): string {
  const value = input[key]
  if (value === undefined) throw misfit(['auth', kind, key], undefined, 'text')
  return value
}

function resolveToken(input: TokenInput, context: ResolveContext): TokenConfig {
  const { rootcertbundle, jwks, signingalgorithms } = input
  if (rootcertbundle === undefined && jwks === undefined) {
    throw new ConfigError('auth.token: needs rootcertbundle or jwks: without a key no token can be checked')
  }
  if (signingalgorithms?.length === 0) throw new ConfigError('auth.token.signingalgorithms: names none, expected some')
  return {
    realm: needed(input, 'token', 'realm'),
    service: needed(input, 'token', 'service'),
    issuer: needed(input, 'token', 'issuer'),
    rootCertBundle: rootcertbundle === undefined ? undefined : resolvePath(rootcertbundle, context),
    jwks: jwks === undefined ? undefined : resolveJwks(jwks, context),
    signingAlgorithms: signingalgorithms,
    autoRedirectPath: input.autoredirect === true ? (input.autoredirectpath ?? '/auth/token') : undefined,
  }
}

/** @throws ConfigError where keys would come by plain HTTP: whoever is on the way could send his own */
function resolveJwks(value: string, context: ResolveContext): string | URL {
  if (!/^https?:/i.test(value)) return resolvePath(value, context)
  const url = URL.parse(value)
  const isLocal = url !== null && /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
  if (url === null || url.username !== '' || url.password !== '' || (url.protocol !== 'https:' && !isLocal)) {
    throw new ConfigError('auth.token.jwks: expected a file, or an https URL without user name')
  }
  return url
}

function resolveAnonymous(input: AnonymousInput, index: number): AnonymousConfig {
  const { repositories, networks, actions = ['pull'] } = input
  const path = ['auth', 'anonymous', index]
  if (repositories === undefined || repositories.length === 0) {
    throw misfit([...path, 'repositories'], undefined, `a list, each ${globForm}`)
  }
  if (networks?.length === 0) throw misfit([...path, 'networks'], undefined, 'networks, or no such key')
  return { repositories, networks, actions }
}

function resolvePolicyRule(input: PolicyInput, index: number): AccessPolicyConfig {
  const { users, claims = {}, actions = [], repositories = [] } = input
  const path = ['auth', 'policy', index]
  if (users === undefined && Object.keys(claims).length === 0) {
    throw misfit([...path, 'users'], undefined, "names of users, ['*'] for all of them, or claims")
  }
  if (actions.length === 0) throw misfit([...path, 'actions'], undefined, 'pull, push, delete, catalog or *')
  if (repositories.length === 0 && actions.some((action) => action !== 'catalog')) {
    throw misfit([...path, 'repositories'], undefined, `a list, each ${globForm}`)
  }
  return { users, claims, actions, repositories }
}

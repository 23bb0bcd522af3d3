// One upstream: its URL, the credentials for it, and its names. `remoteurl` is the short form of one without a name.
import { ConfigError, formatPath, misfit, type KeyPath } from './config-error.ts'
import { resolveHttpProxy, type HttpProxyInput } from './http-proxy.ts'
import { count, duration, flag, goDuration, hasUserinfo, leaf, oneOf, plainUrl, text, url } from './leaf.ts'
import { readPassword, readText, resolvePath } from './named-file.ts'
import type { HttpProxyConfig } from './proxy-url.ts'
import { list, section, type ResolveContext, type Schema } from './section.ts'
import { resolveTagRules, tagRulesSchema, type TagRule, type TagRuleInput } from './tag-rules.ts'
import { resolveTls, upstreamTlsSchema, type UpstreamTls, type UpstreamTlsInput } from './upstream-tls.ts'
import { dialledUrl, findRealm, isDockerHub } from './well-known.ts'

export interface UpstreamConfig {
  /** The name clients know it by, and the first component of its repositories; `undefined` for `remoteurl` only. */
  readonly name: string | undefined
  readonly url: URL
  /** Whether names that no upstream claims go here; true for at most one. */
  readonly default: boolean
  readonly freshness: number
  /** For single tags, instead of `freshness`; the first that matches counts. */
  readonly tags: readonly TagRule[]
  /** Whether a cached tag that the upstream has no more is taken away here. */
  readonly onGone: 'serve' | 'forget'
  /** Whether a cached tag that the upstream refuses us is refused to clients. */
  readonly onDenied: 'serve' | 'deny'
  readonly credentials: UpstreamCredentials
  /** Who may read its copies: whoever may reach us, or, with `client`, whoever the upstream itself lets pull. */
  readonly access: 'ours' | 'client'
  readonly tls: UpstreamTls
  /** What it is reached through; `undefined`: nothing. */
  readonly httpProxy: HttpProxyConfig | undefined
  /** Token servers, beyond the rule of the upstream's own host, that credentials may go to. */
  readonly realms: readonly URL[]
  /** Other names that mean this upstream in `?ns=`; no two upstreams share one. */
  readonly aliases: readonly string[]
  /** How many of the pulls that it grants us are kept for what cannot wait. */
  readonly reserve: number
  /** Whether `library/` is added to names of one component, as Docker Hub's clients do. */
  readonly library: boolean
  /** Other places with the same content, in the order in which they are asked. */
  readonly mirrors: readonly MirrorConfig[]
}

/** A place that holds the same repositories as an upstream, under the same names. */
export interface MirrorConfig extends Pick<UpstreamConfig, 'url' | 'credentials' | 'tls' | 'httpProxy' | 'realms'> {
  /** Whether it may also say what a name means: tags, referrers. */
  readonly trusted: boolean
}

export type UpstreamCredentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A credential helper; `lifetime` undefined: its answer holds for ever, 0: it is asked every time. */
  | { readonly kind: 'exec'; readonly command: string; readonly lifetime: number | undefined }
  /** A docker `config.json`; the path is absolute. */
  | { readonly kind: 'authfile'; readonly path: string }

interface ExecInput {
  readonly command?: string | undefined
  readonly lifetime?: number | undefined
}

/** The keys that say who we are to an upstream; at most one form of them. */
export interface CredentialsInput {
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly passwordfile?: string | undefined
  readonly authfile?: string | undefined
  readonly exec?: ExecInput | undefined
}

/** What it takes to be let in, and to know that it is the right door. */
export interface AccessInput extends CredentialsInput, HttpProxyInput {
  readonly tls?: UpstreamTlsInput | undefined
  readonly realms?: URL[] | undefined
}

export interface UpstreamInput extends AccessInput {
  readonly url?: URL | undefined
  readonly default?: boolean | undefined
  readonly freshness?: number | undefined
  readonly tags?: TagRuleInput[] | undefined
  readonly ongone?: UpstreamConfig['onGone'] | undefined
  readonly ondenied?: UpstreamConfig['onDenied'] | undefined
  readonly access?: UpstreamConfig['access'] | undefined
  readonly aliases?: string[] | undefined
  readonly library?: boolean | undefined
  readonly reserve?: number | undefined
  readonly mirrors?: MirrorInput[] | undefined
}

export interface MirrorInput extends AccessInput {
  readonly url?: URL | undefined
  readonly trusted?: boolean | undefined
}

export const onGoneSchema: Schema<UpstreamConfig['onGone']> = oneOf(['serve', 'forget'])
export const onDeniedSchema: Schema<UpstreamConfig['onDenied']> = oneOf(['serve', 'deny'])
export const accessSchema: Schema<UpstreamConfig['access']> = oneOf(['ours', 'client'])

/** Who we are there, and who else may see it: the keys of whatever has a URL that is dialled. */
export const accessKeys: {
  readonly username: Schema<string>
  readonly password: Schema<string>
  readonly passwordfile: Schema<string>
  readonly authfile: Schema<string>
  readonly exec: Schema<ExecInput>
  readonly tls: Schema<UpstreamTlsInput>
  readonly realms: Schema<URL[]>
  readonly httpproxy: Schema<string>
  readonly httpproxyfile: Schema<string>
} = {
  username: text,
  password: text,
  passwordfile: text,
  authfile: text,
  exec: section({ command: text, lifetime: goDuration }),
  tls: upstreamTlsSchema,
  realms: list(plainUrl),
  httpproxy: text,
  httpproxyfile: text,
}

export const mirrorsSchema: Schema<MirrorInput[]> = list(section({ url, trusted: flag, ...accessKeys }))

const alias = leaf('the name of a registry, such as docker.io or localhost:5000', (value) =>
  /^[\w.\-:[\]]+$/.test(value) ? value.toLowerCase() : undefined,
)

export const upstreamSchema: Schema<UpstreamInput> = section({
  url,
  default: flag,
  ...accessKeys,
  freshness: duration,
  tags: tagRulesSchema,
  ongone: onGoneSchema,
  ondenied: onDeniedSchema,
  access: accessSchema,
  aliases: list(alias),
  library: flag,
  reserve: count,
  mirrors: mirrorsSchema,
})

/** What an upstream has from `proxy` where it does not say. */
export type UpstreamDefaults = Pick<UpstreamConfig, 'freshness' | 'onGone' | 'onDenied' | 'httpProxy'>

/** `at` is where `url` lies; the other keys are its siblings. Built-in aliases are for the caller to hand out. */
export function resolveUpstream(
  name: string | undefined,
  input: UpstreamInput & { readonly url: URL },
  at: KeyPath,
  defaults: UpstreamDefaults,
  context: ResolveContext,
): UpstreamConfig {
  const door = resolveAccess(input, at, defaults.httpProxy, context)
  const access = input.access ?? 'ours'
  if (access === 'client' && door.credentials.kind === 'anonymous') {
    throw new ConfigError(
      `${formatPath([...at.slice(0, -1), 'access'])}: found "client" without credentials of ours, which copies are fetched with; ` +
        'expected username and passwordfile, authfile or exec beside it',
    )
  }
  return {
    ...door,
    access,
    name,
    default: input.default ?? false,
    freshness: input.freshness ?? defaults.freshness,
    tags: resolveTagRules(input.tags ?? [], [...at.slice(0, -1), 'tags']),
    onGone: input.ongone ?? defaults.onGone,
    onDenied: input.ondenied ?? defaults.onDenied,
    aliases: input.aliases ?? [],
    reserve: input.reserve ?? 0,
    library: input.library ?? isDockerHub(name, input.url),
    mirrors: (input.mirrors ?? []).map((mirror, index) =>
      resolveMirror(mirror, [...at.slice(0, -1), 'mirrors', index, 'url'], door.httpProxy, context),
    ),
  }
}

function resolveMirror(
  { url: target, ...input }: MirrorInput,
  at: KeyPath,
  httpProxy: HttpProxyConfig | undefined,
  context: ResolveContext,
): MirrorConfig {
  if (target === undefined) throw misfit(at, undefined, 'an http or https URL')
  return { ...resolveAccess({ ...input, url: target }, at, httpProxy, context), trusted: input.trusted ?? false }
}

/** Where it is, and who we are there. */
function resolveAccess(
  input: AccessInput & { readonly url: URL },
  at: KeyPath,
  httpProxy: HttpProxyConfig | undefined,
  context: ResolveContext,
): Pick<UpstreamConfig, 'url' | 'credentials' | 'tls' | 'httpProxy' | 'realms'> {
  if (hasUserinfo(input.url)) {
    throw new ConfigError(
      `${formatPath(at)}: holds a user name or password; write them as username and password or passwordfile`,
    )
  }
  const dialled = dialledUrl(input.url)
  return {
    url: dialled,
    credentials: resolveCredentials(input, at.slice(0, -1), context),
    tls: resolveTls(input.tls ?? {}, dialled, [...at.slice(0, -1), 'tls'], context),
    httpProxy: resolveHttpProxy(input, at.slice(0, -1), httpProxy, context),
    realms: uniqueUrls([...(input.realms ?? []), findRealm(dialled)]),
  }
}

function uniqueUrls(urls: readonly (URL | undefined)[]): URL[] {
  return [...new Map(urls.filter((one) => one !== undefined).map((one) => [one.href, one])).values()]
}

function resolveCredentials(input: CredentialsInput, at: KeyPath, context: ResolveContext): UpstreamCredentials {
  const key = (name: string): string => formatPath([...at, name])
  const forms = (['password', 'passwordfile', 'exec', 'authfile'] as const).filter((name) => input[name] !== undefined)
  const [form, another] = forms
  if (another !== undefined) {
    throw new ConfigError(`${key(another)}: found beside ${forms[0]}, expected one form of credentials`)
  }
  if (form === 'exec' || form === 'authfile' || form === undefined) {
    if (input.username !== undefined) {
      throw new ConfigError(`${key('username')}: found without a password, expected password or passwordfile beside it`)
    }
    return form === undefined ? { kind: 'anonymous' } : resolveForeign(form, input, key, context)
  }
  if (input.username === undefined) throw new ConfigError(`${key('username')}: missing, expected beside ${form}`)
  const password = input.password ?? readPassword(resolvePath(input.passwordfile ?? '', context), key('passwordfile'))
  return { kind: 'password', username: input.username, password }
}

/** Credentials that others keep for us. */
function resolveForeign(
  form: 'exec' | 'authfile',
  input: CredentialsInput,
  key: (name: string) => string,
  context: ResolveContext,
): UpstreamCredentials {
  if (form === 'authfile') {
    const path = resolvePath(input.authfile ?? '', context)
    warnOfAuthFile(path, key('authfile'), context)
    return { kind: 'authfile', path }
  }
  const command = input.exec?.command
  if (command === undefined) throw new ConfigError(`${key('exec.command')}: missing, expected a credential helper`)
  return { kind: 'exec', command, lifetime: input.exec?.lifetime }
}

/** Whoever logs in later is heard: what cannot be read is no reason not to start. */
function warnOfAuthFile(path: string, key: string, context: ResolveContext): void {
  try {
    JSON.parse(readText(path, key))
  } catch (error) {
    const what = error instanceof ConfigError ? error.message : `${key}: ${path} is not JSON`
    context.warn(`${what}; it is read again at each pull`)
  }
}

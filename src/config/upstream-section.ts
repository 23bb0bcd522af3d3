// One upstream: its URL, the credentials for it, and its names. `remoteurl` is the short form of one without a name.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { ConfigError, formatPath, reasonOf, type KeyPath } from './config-error.ts'
import type { UpstreamConfig, UpstreamCredentials } from './config.ts'
import { duration, flag, goDuration, hasUserinfo, leaf, oneOf, plainUrl, text, url } from './leaf.ts'
import { later, list, section, type ResolveContext } from './section.ts'
import { resolveTagRules, tagRulesSchema, type TagRuleInput } from './tag-rules.ts'
import { findRealm, isDockerHub } from './well-known.ts'

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

export interface UpstreamInput extends CredentialsInput {
  readonly url?: URL | undefined
  readonly default?: boolean | undefined
  readonly freshness?: number | undefined
  readonly tags?: TagRuleInput[] | undefined
  readonly ongone?: UpstreamConfig['onGone'] | undefined
  readonly ondenied?: UpstreamConfig['onDenied'] | undefined
  readonly realms?: URL[] | undefined
  readonly aliases?: string[] | undefined
  readonly library?: boolean | undefined
}

export const execSchema: z.ZodType<ExecInput> = section({ command: text, lifetime: goDuration })

export const onGoneSchema: z.ZodType<UpstreamConfig['onGone']> = oneOf(['serve', 'forget'])
export const onDeniedSchema: z.ZodType<UpstreamConfig['onDenied']> = oneOf(['serve', 'deny'])

export const realmsSchema: z.ZodType<URL[]> = list(plainUrl)

const alias = leaf('the name of a registry, such as docker.io or localhost:5000', (value) =>
  /^[\w.\-:[\]]+$/.test(value) ? value.toLowerCase() : undefined,
)

export const upstreamSchema: z.ZodType<UpstreamInput> = section({
  url,
  default: flag,
  username: text,
  password: text,
  passwordfile: text,
  authfile: text,
  exec: execSchema,
  freshness: duration,
  tags: tagRulesSchema,
  ongone: onGoneSchema,
  ondenied: onDeniedSchema,
  realms: realmsSchema,
  aliases: list(alias),
  library: flag,
  // Other places that hold the same content.
  mirrors: later(list(url)),
})

/** What an upstream has from `proxy` where it does not say. */
export type UpstreamDefaults = Pick<UpstreamConfig, 'freshness' | 'onGone' | 'onDenied'>

/** `at` is where `url` lies; the other keys are its siblings. Built-in aliases are for the caller to hand out. */
export function resolveUpstream(
  name: string | undefined,
  input: UpstreamInput & { readonly url: URL },
  at: KeyPath,
  defaults: UpstreamDefaults,
  context: ResolveContext,
): UpstreamConfig {
  if (hasUserinfo(input.url)) {
    throw new ConfigError(
      `${formatPath(at)}: holds a user name or password; write them as username and password or passwordfile`,
    )
  }
  return {
    name,
    url: input.url,
    default: input.default ?? false,
    freshness: input.freshness ?? defaults.freshness,
    tags: resolveTagRules(input.tags ?? [], [...at.slice(0, -1), 'tags']),
    onGone: input.ongone ?? defaults.onGone,
    onDenied: input.ondenied ?? defaults.onDenied,
    credentials: resolveCredentials(input, at.slice(0, -1), context),
    realms: uniqueUrls([...(input.realms ?? []), findRealm(input.url)]),
    aliases: input.aliases ?? [],
    library: input.library ?? isDockerHub(name, input.url),
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
  if (form === 'authfile') return { kind: 'authfile', path: resolvePath(input.authfile ?? '', context) }
  const command = input.exec?.command
  if (command === undefined) throw new ConfigError(`${key('exec.command')}: missing, expected a credential helper`)
  return { kind: 'exec', command, lifetime: input.exec?.lifetime }
}

function resolvePath(path: string, context: ResolveContext): string {
  return resolve(
    context.cwd,
    path.replace(/^~(?=\/|$)/, () => context.home),
  )
}

function readPassword(path: string, key: string): string {
  let content: string
  try {
    content = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`${key}: ${path} cannot be read: ${reasonOf(error)}`, { cause: error })
  }
  const password = content.replace(/[\r\n]+$/, '')
  if (password === '') throw new ConfigError(`${key}: ${path} is empty, expected a password in it`)
  return password
}

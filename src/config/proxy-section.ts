// `proxy`: whom we ask. Either `remoteurl`, as distribution has it, or `upstreams`, as many as one likes.
import { dockerHubNames } from '../oci/docker-hub.ts'
import { isRepositoryName } from '../oci/reference.ts'
import { ConfigError, misfit } from './config-error.ts'
import { resolveHttpProxy } from './http-proxy.ts'
import { count, duration, flag, goDuration, integer, leaf, partOfTimeout, patience, size, url } from './leaf.ts'
import { isEmpty, later, list, mapOf, section, type ResolveContext, type Schema } from './section.ts'
import { parseSize } from './size.ts'
import { tagRulesSchema, type TagRuleInput } from './tag-rules.ts'
import {
  accessKeys,
  accessSchema,
  mirrorsSchema,
  onDeniedSchema,
  onGoneSchema,
  resolveUpstream,
  upstreamSchema,
  type AccessInput,
  type MirrorInput,
  type UpstreamConfig,
  type UpstreamDefaults,
  type UpstreamInput,
} from './upstream-section.ts'
import { isDockerHub } from './well-known.ts'

export interface ProxyConfig {
  /** At least one, in the order they were written. `remoteurl` makes one without a name. */
  readonly upstreams: readonly UpstreamConfig[]
  /** Globs of repository names that are ours: never asked upstream. */
  readonly hosted: readonly string[]
  /** How long a tag counts as fresh; 0: revalidated each time. */
  readonly freshness: number
  /** Never dial out. */
  readonly offline: boolean
  readonly timeouts: ProxyTimeouts
  /** How long it is remembered that an upstream does not have, or refuses us, what is not here; 0: not at all. */
  readonly negative: number
  readonly fill: FillConfig
  readonly cache: ProxyCacheConfig
}

/** How a blob is fetched. */
export interface FillConfig {
  /** Range requests that run at once for one large blob; 1: none are needed. */
  readonly connections: number
  /** From which size on a blob is large. */
  readonly minSize: number
  /** How often in all what broke is asked for again. */
  readonly retries: number
}

/** When copies of what upstreams have are taken away again. */
export interface ProxyCacheConfig {
  /** Bytes of all blobs that are stored; `undefined`: any number. */
  readonly maxSize: number | undefined
  /** Time without use; 0: they stay. */
  readonly ttl: number
  /** Globs of repositories, or of `repository:tag`, that stay. */
  readonly pins: readonly string[]
}

export interface ProxyTimeouts {
  readonly connect: number
  readonly firstByte: number
  readonly idle: number
  /** How long a client is kept waiting where something stale can be served; 0: as long as the others allow. */
  readonly stale: number
}

interface TimeoutsInput {
  readonly connect?: number | undefined
  readonly firstbyte?: number | undefined
  readonly idle?: number | undefined
  readonly stale?: number | undefined
}

interface FillInput {
  readonly connections?: number | undefined
  readonly minsize?: number | undefined
  readonly retries?: number | undefined
}

export interface ProxyInput extends AccessInput {
  readonly remoteurl?: URL | undefined
  readonly reserve?: number | undefined
  readonly mirrors?: MirrorInput[] | undefined
  readonly tags?: TagRuleInput[] | undefined
  readonly access?: UpstreamConfig['access'] | undefined
  readonly upstreams?: Record<string, UpstreamInput> | undefined
  readonly hosted?: string[] | undefined
  readonly freshness?: number | undefined
  readonly ongone?: UpstreamConfig['onGone'] | undefined
  readonly ondenied?: UpstreamConfig['onDenied'] | undefined
  readonly negative?: number | undefined
  readonly offline?: boolean | undefined
  readonly timeouts?: TimeoutsInput | undefined
  readonly fill?: FillInput | undefined
  readonly cache?:
    | { readonly maxsize?: number | undefined; readonly ttl?: number | undefined; readonly pin?: string[] | undefined }
    | undefined
}

const hostedGlob = leaf('a glob of repository names, such as local/**', (value) =>
  /^[a-z0-9._*?-]+(?:\/[a-z0-9._*?-]+)*$/.test(value) ? value : undefined,
)

const connections = integer(1, 'a whole number from 1 to 16', 16)
const retries = integer(0, 'a whole number from 0 to 100', 100)
const pinGlob = leaf('a glob of repository names, or of name:tag, such as docker.io/library/**', (value) =>
  /^[a-z0-9._*-]+(?:\/[a-z0-9._*-]+)*(?::[\w.*-]+)?$/.test(value) ? value : undefined,
)

export const proxySchema: Schema<ProxyInput> = section({
  remoteurl: url,
  ...accessKeys,
  reserve: count,
  mirrors: mirrorsSchema,
  tags: tagRulesSchema,
  access: accessSchema,
  ttl: later(goDuration),
  cachewritetimeout: later(goDuration),
  upstreams: mapOf(upstreamSchema),
  hosted: list(hostedGlob),
  freshness: duration,
  ongone: onGoneSchema,
  ondenied: onDeniedSchema,
  negative: duration,
  offline: flag,
  timeouts: section({ connect: partOfTimeout, firstbyte: partOfTimeout, idle: partOfTimeout, stale: patience }),
  fill: section({ connections, minsize: size, retries }),
  cache: section({ maxsize: size, ttl: duration, pin: list(pinGlob) }),
})

const defaultFreshness = 5 * 60_000

/** `undefined` where no upstream is named: a plain registry. */
export function resolveProxy(input: ProxyInput, context: ResolveContext): ProxyConfig | undefined {
  const defaults = {
    freshness: input.freshness ?? defaultFreshness,
    onGone: input.ongone ?? 'serve',
    onDenied: input.ondenied ?? 'serve',
    httpProxy: resolveHttpProxy(input, ['proxy'], context.httpProxy, context),
  }
  const upstreams = resolveUpstreams(input, defaults, context)
  if (upstreams.length === 0) {
    if (!isEmpty(input)) context.warn('proxy has neither remoteurl nor upstreams, so this is a plain registry')
    return undefined
  }
  if (input.offline === true && upstreams.some(({ access }) => access === 'client')) {
    throw new ConfigError('proxy.offline: found true beside an upstream with access: client, which has to be asked')
  }
  return {
    upstreams,
    hosted: input.hosted ?? ['local/**'],
    freshness: defaults.freshness,
    offline: input.offline ?? false,
    timeouts: {
      connect: input.timeouts?.connect ?? 5000,
      firstByte: input.timeouts?.firstbyte ?? 10_000,
      idle: input.timeouts?.idle ?? 15_000,
      stale: input.timeouts?.stale ?? 3000,
    },
    fill: {
      connections: input.fill?.connections ?? 1,
      minSize: input.fill?.minsize ?? parseSize('64MiB'),
      retries: input.fill?.retries ?? 3,
    },
    negative: input.negative ?? 10_000,
    cache: {
      maxSize: input.cache?.maxsize || undefined,
      ttl: input.cache?.ttl ?? 0,
      pins: input.cache?.pin ?? [],
    },
  }
}

function resolveUpstreams(input: ProxyInput, defaults: UpstreamDefaults, context: ResolveContext): UpstreamConfig[] {
  const named = Object.entries(input.upstreams ?? {})
  if (input.remoteurl === undefined) {
    if (named.length > 0) refuseOuterKeys(input)
    const upstreams = named.map(([name, upstream]) => resolveNamed(name, upstream, defaults, context))
    return withAliases(upstreams)
  }
  if (named.length > 0) throw new ConfigError('proxy.remoteurl: found beside proxy.upstreams, expected one of them')
  const { remoteurl, username, password, passwordfile, authfile, exec, tls, realms } = input
  const { reserve, mirrors, tags, access } = input
  const door = { username, password, passwordfile, authfile, exec, tls, realms }
  // containerd names in `ns` the registry that it takes us for: here there is no other.
  const only = { url: remoteurl, aliases: [remoteurl.host], default: true, ...door, reserve, mirrors, tags, access }
  return withAliases([resolveUpstream(undefined, only, ['proxy', 'remoteurl'], defaults, context)])
}

/** Beside `upstreams` it would be unclear whose they are. */
function refuseOuterKeys(input: ProxyInput): void {
  const door = ['username', 'password', 'passwordfile', 'authfile', 'exec', 'tls', 'realms'] as const
  const keys = [...door, 'reserve', 'mirrors', 'tags', 'access'] as const
  const found = keys.find((key) => input[key] !== undefined)
  if (found === undefined) return
  throw new ConfigError(`proxy.${found}: belongs to proxy.remoteurl, expected it inside one of proxy.upstreams`)
}

function resolveNamed(
  name: string,
  input: UpstreamInput,
  defaults: UpstreamDefaults,
  context: ResolveContext,
): UpstreamConfig {
  const path = ['proxy', 'upstreams', name]
  // Cached repositories live under it: `docker.io/library/alpine`.
  if (!isRepositoryName(name) || name.includes('/')) {
    const hint = name.includes(':') ? '; with a port it is one of its aliases' : ''
    throw new ConfigError(
      `proxy.upstreams: found ${JSON.stringify(name)}, expected a name of lower-case letters and digits joined by . _ or -${hint}`,
    )
  }
  const { url: target } = input
  if (target === undefined) throw misfit([...path, 'url'], undefined, 'an http or https URL')
  return resolveUpstream(name, { ...input, url: target }, [...path, 'url'], defaults, context)
}

/** Docker Hub's other names go to one upstream: the one called docker.io, else the default, else the first. */
function withAliases(upstreams: readonly UpstreamConfig[]): UpstreamConfig[] {
  if (upstreams.filter((upstream) => upstream.default).length > 1) {
    throw new ConfigError('proxy.upstreams: found more than one with default: true, expected one at most')
  }
  const taken = claimNames(upstreams)
  const hubs = upstreams.filter((upstream) => isDockerHub(upstream.name, upstream.url))
  const hub =
    hubs.find((upstream) => upstream.name === 'docker.io') ?? hubs.find((upstream) => upstream.default) ?? hubs[0]
  const free = dockerHubNames.filter((name) => !taken.has(name))
  return upstreams.map((upstream) =>
    upstream === hub ? { ...upstream, aliases: [...upstream.aliases, ...free] } : upstream,
  )
}

/** @throws ConfigError where one name would mean two upstreams */
function claimNames(upstreams: readonly UpstreamConfig[]): ReadonlySet<string> {
  const taken = new Set<string>(upstreams.flatMap((upstream) => upstream.name ?? []))
  for (const upstream of upstreams) {
    for (const alias of upstream.aliases) {
      if (taken.has(alias)) {
        const where = `proxy.upstreams.${upstream.name ?? ''}.aliases`
        throw new ConfigError(`${where}: ${JSON.stringify(alias)} is another upstream's name or alias, or stands twice`)
      }
      taken.add(alias)
    }
  }
  return taken
}

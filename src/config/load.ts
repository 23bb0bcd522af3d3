// File, environment and defaults → one `Config`. Nobody else in the house reads any of them.
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { resolveAuth } from './auth-section.ts'
import { ConfigError, misfit, reasonOf } from './config-error.ts'
import type { Config } from './config.ts'
import { defaultMirror } from './default-mirror.ts'
import { applyEnvironment, type Environment } from './environment.ts'
import { resolveHealth } from './health-section.ts'
import { environmentProxy } from './http-proxy.ts'
import { resolveHttp } from './http-section.ts'
import { readAs, unbuiltWarnings } from './keys.ts'
import { resolveLog } from './log-section.ts'
import { resolvePolicy, resolveSchema1, resolveValidation } from './manifest-sections.ts'
import { resolveMiddleware } from './middleware-section.ts'
import { resolveNotifications } from './notifications-section.ts'
import { resolveProxy, type ProxyConfig } from './proxy-section.ts'
import { resolveRedis } from './redis-section.ts'
import { configSchema, type ConfigInput } from './schema.ts'
import type { ResolveContext } from './section.ts'
import { resolveStorage, type StorageConfig } from './storage-section.ts'
import { resolveTracing } from './tracing-section.ts'
import { expandShortForms, isTree, readYaml, blankEmpty, type Tree } from './tree.ts'

export interface LoadOptions {
  /** The file; else `REGISTRY_CONFIGURATION_PATH` names it; else the built-in mirror is loaded. */
  readonly path?: string | undefined
  readonly env: Environment
  /** Where relative paths start. */
  readonly cwd: string
}

export interface LoadedConfig {
  readonly config: Config
  /** A line for each key or variable that has no effect. They hold no secret. */
  readonly warnings: readonly string[]
}

/** @throws ConfigError */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const path = options.path || options.env['REGISTRY_CONFIGURATION_PATH'] || undefined
  const tree = path === undefined ? builtIn(options.env) : readTree(resolve(options.cwd, path), path)
  expandShortForms(tree)
  const warnings = applyEnvironment(tree, configSchema, options.env)
  const input = readAs(configSchema, blankEmpty(tree))
  warnings.push(...unbuiltWarnings(configSchema, input))
  const warn = (line: string): void => void warnings.push(line)
  const config = resolveConfig(input, {
    cwd: options.cwd,
    home: options.env['HOME'] || homedir(),
    httpProxy: environmentProxy(options.env, warn),
    warn,
    env: options.env,
  })
  return { config: deepFreeze(config), warnings }
}

/** Who names one upstream by `REGISTRY_PROXY_REMOTEURL`, as with distribution's image, means no others. */
function builtIn(env: Environment): Tree {
  const tree = defaultMirror()
  if (env['REGISTRY_PROXY_REMOTEURL']) delete tree['proxy']
  return tree
}

function readTree(file: string, shown: string): Tree {
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(`${shown}: cannot be read: ${reasonOf(error)}`, { cause: error })
  }
  const result = readYaml(source)
  if ('problem' in result) {
    const { reason, line, column } = result.problem
    throw new ConfigError(`${shown}:${line}:${column}: not YAML: ${reason}`)
  }
  if (result.value === null) return {}
  if (!isTree(result.value)) throw new ConfigError(`${shown}: found no keys, expected a map such as version: 0.1`)
  return result.value
}

const defaultMaxEntries = 1000

function resolveConfig(input: ConfigInput, context: ResolveContext & { readonly env: Environment }): Config {
  if (input.version === undefined) throw misfit(['version'], undefined, '0.1')
  const storage = resolveStorage(input.storage, context)
  const redis = resolveRedis(input.redis ?? {}, context)
  if (storage.descriptorCache.kind === 'redis' && redis === undefined) {
    throw new ConfigError('storage.cache.blobdescriptor: found "redis", but redis.addr is missing')
  }
  const isRedirectDisabled = input.storage?.redirect?.disable ?? false
  const proxy = resolveProxy(input.proxy ?? {}, context)
  refuseEviction(storage, proxy)
  const auth = resolveAuth(input.auth ?? {}, context)
  refuseTwoDoors(auth, proxy)
  const maxEntries = input.catalog?.maxentries ?? defaultMaxEntries
  return {
    log: resolveLog(input.log ?? {}, input.loglevel, context),
    http: resolveHttp(input.http ?? {}, context),
    storage,
    redis,
    auth,
    catalog: { maxEntries: maxEntries > 0 ? maxEntries : defaultMaxEntries },
    tags: { maxTags: input.tags?.maxtags || defaultMaxEntries },
    proxy,
    notifications: resolveNotifications(input.notifications ?? {}),
    validation: resolveValidation(input.validation ?? {}, context),
    policy: resolvePolicy(input.policy ?? {}),
    schema1: resolveSchema1(input.compatibility ?? {}, context),
    middleware: resolveMiddleware(input.middleware ?? {}, { ...storage, isRedirectDisabled }, context),
    health: resolveHealth(input.health ?? {}),
    tracing: resolveTracing(context.env, context.warn),
  }
}

/** @throws ConfigError where content is to be taken away that no ledger can be kept of */
function refuseEviction(storage: StorageConfig, proxy: ProxyConfig | undefined): void {
  if (proxy === undefined || storage.driver === 'filesystem') return
  const key = proxy.cache.maxSize === undefined ? 'ttl' : 'maxsize'
  if (key === 'ttl' && proxy.cache.ttl === 0) return
  throw new ConfigError(`proxy.cache.${key}: needs storage.filesystem, found storage.${storage.driver}`)
}

/** @throws ConfigError where one `Authorization` would have to be for us and for an upstream */
function refuseTwoDoors(auth: Config['auth'], proxy: ProxyConfig | undefined): void {
  const upstream = proxy?.upstreams.find(({ access }) => access === 'client')
  if (upstream === undefined || auth === undefined) return
  const key = upstream.name === undefined ? 'proxy.access' : `proxy.upstreams.${upstream.name}.access`
  throw new ConfigError(
    `${key}: found "client" beside auth: a client has one set of credentials to send, ours or the upstream's`,
  )
}

/** A URL guards its own insides; all else is plain data. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const inner of Object.values(value)) deepFreeze(inner)
  return value
}

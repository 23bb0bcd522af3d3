// The one room that knows everybody: configuration → drivers → storage → proxy → API → listener.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { api, tooManyRequests } from './api/api.ts'
import { manifestRules } from './api/manifest-rules.ts'
import type { Schema1Options } from './api/schema1.ts'
import { ConfigError } from './config/config-error.ts'
import type { Config, MirrorConfig, UpstreamConfig } from './config/config.ts'
import { descriptorCache } from './cache/descriptors.ts'
import { Facts, type FactStore } from './cache/facts.ts'
import { openFactStore } from './cache/store.ts'
import { PathNotFoundError, type StorageDriver } from './drivers/driver.ts'
import { filesystemDriver } from './drivers/filesystem.ts'
import { inMemoryDriver } from './drivers/inmemory.ts'
import { ClientLimits } from './http/client-limits.ts'
import { TrustedProxies } from './http/forwarded.ts'
import { listen, type ListenerOptions } from './http/listener.ts'
import type { TlsFiles } from './http/tls-files.ts'
import { Evictor } from './ledger/evictor.ts'
import { UsageRecorder } from './ledger/recorder.ts'
import { parseConfirmation } from './proxy/freshness.ts'
import { ProxyRegistry } from './proxy/registry.ts'
import { copyTest, Selector, type Upstream } from './proxy/selection.ts'
import type { Registry } from './registry/registry.ts'
import type { UpstreamSource } from './registry/upstream-source.ts'
import type { UsageLog } from './registry/usage.ts'
import {
  collectGarbage as collect,
  GarbageError,
  type GarbageOptions,
  type GarbageReport,
} from './storage/garbage/collect.ts'
import { UploadPurger } from './storage/purge.ts'
import { verifyStorage as verify, VerifyError, type VerifyOptions, type VerifyReport } from './storage/verify/verify.ts'
import { openLocalRegistry, type LocalStore } from './storage/registry.ts'
import { generateSigningKey, loadSigningKey } from './schema1/signing-key.ts'
import type { Logger } from './telemetry/logger.ts'
import { AuthFile } from './upstream/auth-file.ts'
import { CredentialHelper, parseCommand } from './upstream/credential-helper.ts'
import { anonymousAccess, fixedCredentials, type CredentialSource } from './upstream/credentials.ts'
import { helperServer } from './upstream/docker-config.ts'
import { mirrored, type Mirror } from './upstream/mirrored.ts'
import { UpstreamRegistry } from './upstream/upstream-registry.ts'

export const version: string = readVersion()

export interface App extends AsyncDisposable {
  readonly url: string
  /** What the storage holds, in a few words. */
  summary(): Promise<string>
  /** Stops taking requests, lets running ones end for `http.draintimeout`, and closes everything. Resolves with how many were cut. */
  close(): Promise<number>
}

/** Files that a dead process may have left: a live one touches its own far more often. */
const temporaryAge = 15 * 60_000

/** Bytes of partial blobs that wait for their next fill, where `proxy.cache.maxsize` does not say what the disk is for. */
const leftoverSize = 10 * 1024 ** 3

/** @throws Node's listen error; nothing is left open then. An upstream or a redis that is down is no reason not to start (P9). */
export async function startApp(config: Config, logger: Logger): Promise<App> {
  await using opening = new AsyncDisposableStack()
  const facts = opening.use(openFacts(config, logger))
  const driver = openDriver(config)
  const usage = evicts(config) ? new UsageRecorder() : undefined
  const store = openLocalRegistry({
    driver,
    usage,
    descriptors: descriptorCache(
      config.storage.descriptorCache.kind === 'none' ? openFactStore({ kind: 'none' }, logger) : facts,
    ),
    deleteEnabled: config.storage.deleteEnabled,
    verify: config.storage.verify,
    logger,
  })
  if (!config.storage.readOnly) await store.checkWritable()
  const registry = openRegistry(config, { store, facts, usage }, opening, logger)
  const tls = opening.use(await openTls(config, logger))
  const listener = opening.use(
    await listen(
      api(registry, {
        prefix: config.http.prefix,
        headers: config.http.headers,
        externalUrl: config.http.externalUrl,
        relativeUrls: config.http.relativeUrls,
        secret: config.http.secret ?? (await uploadSecret(driver, logger)),
        readOnly: config.storage.readOnly,
        schema1: await openSchema1(config),
        rules: manifestRules(config.validation, config.policy),
        catalog: { usual: Math.min(100, config.catalog.maxEntries), most: config.catalog.maxEntries },
        tags: { usual: Infinity, most: config.tags.maxTags },
      }),
      { ...listenerOptions(config), tls, logger },
    ),
  )
  sweepNowAndThen(config, store, opening, logger)
  purgeNowAndThen(config, driver, opening, logger)
  if (config.storage.scrub.enabled) opening.use(store.scrub(config.storage.scrub))
  const evictor = usage === undefined ? undefined : opening.use(openEvictor(config, store, usage, logger))
  const resources = opening.move()
  return {
    url: config.http.socket === undefined ? withPath(listener.url, config.http.prefix) : listener.url,
    summary: async () => await store.summary(),
    async close() {
      evictor?.rest()
      const cut = await listener.close(config.http.drainTimeout)
      await resources.disposeAsync()
      return cut
    },
    async [Symbol.asyncDispose]() {
      await resources.disposeAsync()
    },
  }
}

async function openTls({ http }: Config, logger: Logger): Promise<TlsFiles | undefined> {
  if (http.tls === undefined) return undefined
  const { TlsFiles: Files } = await import('./http/tls-files.ts')
  return await Files.open({ ...http.tls, logger })
}

function listenerOptions({ http }: Config): Omit<ListenerOptions, 'logger'> {
  const { host, port, socket, limits, trustedProxies } = http
  const { connections, requests, rate } = limits
  return {
    host,
    port,
    socket,
    connections,
    idleTimeout: limits.idle,
    headersTimeout: limits.headerTime,
    keepAliveTimeout: limits.keepAlive,
    perClient:
      requests === 0 && rate === 0
        ? undefined
        : { limits: new ClientLimits({ requests, rate }), refuse: tooManyRequests(http) },
    trustedProxies: trustedProxies.length === 0 ? undefined : new TrustedProxies(trustedProxies),
  }
}

function withPath(url: string, path: string): string {
  return new URL(path, url).href.replace(/\/$/, '')
}

function openDriver({ storage }: Config): StorageDriver {
  if (storage.driver === 'inmemory') return inMemoryDriver()
  return filesystemDriver({ rootDirectory: storage.rootDirectory, maxThreads: storage.maxThreads })
}

/** @throws ConfigError where the key cannot be read */
async function openSchema1({ schema1 }: Config): Promise<Schema1Options> {
  const { enabled, keyFile } = schema1
  if (keyFile === undefined) return { enabled, key: generateSigningKey() }
  try {
    return { enabled, key: loadSigningKey(await readFile(keyFile, 'utf8')) }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigError(`compatibility.schema1.trustkey: ${reason}`, { cause })
  }
}

const uploadSecretPath = '/entrepot/upload-secret'

/** Where none is configured: one of our own, kept beside the tree, so that uploads go on after a restart. */
async function uploadSecret(driver: StorageDriver, logger: Logger): Promise<string> {
  const fresh = randomBytes(32).toString('hex')
  try {
    const kept = await driver.read(uploadSecretPath, 1024).catch((error: unknown) => {
      if (error instanceof PathNotFoundError) return undefined
      throw error
    })
    if (kept !== undefined && /^[0-9a-f]{64}$/.test(kept.toString())) return kept.toString() // not zeros, as a bad disk has them
    await driver.write(uploadSecretPath, Buffer.from(fresh))
  } catch (error) {
    logger.warn({ error }, 'no secret for uploads can be kept: they end with this process')
  }
  return fresh
}

/** Without a proxy, the store itself. */
function openRegistry(
  config: Config,
  { store, facts, usage }: { store: LocalStore; facts: FactStore; usage: UsageLog | undefined },
  opening: AsyncDisposableStack,
  logger: Logger,
): Registry {
  const { proxy } = config
  if (proxy === undefined) return store
  const openSource = (access: MirrorConfig | UpstreamConfig, reserve: number): UpstreamSource =>
    opening.use(
      new UpstreamRegistry({
        url: access.url,
        credentials: credentialsOf(access, logger),
        tls: access.tls,
        proxies: access.httpProxy,
        realms: access.realms,
        timeouts: proxy.timeouts,
        reserve,
        userAgent: `entrepot/${version}`,
        logger,
      }),
    )
  const upstreams = proxy.upstreams.map((upstream): Upstream => {
    const main = openSource(upstream, upstream.reserve)
    const mirrors = upstream.mirrors.map((mirror): Mirror => {
      return { source: openSource(mirror, 0), trusted: mirror.trusted }
    })
    const { name, aliases, library, freshness, onGone, onDenied } = upstream
    return {
      name,
      aliases,
      library,
      freshness,
      tags: upstream.tags.map((rule) => ({ ...rule, match: new RegExp(rule.match, 'u') })),
      onGone,
      onDenied,
      reserve: upstream.reserve,
      default: upstream.default,
      host: upstream.url.host,
      source: mirrors.length === 0 ? main : mirrored(main, mirrors, logger),
    }
  })
  const { hosted, offline, timeouts, negative } = proxy
  const fill = { ...proxy.fill, patience: 1.8 * timeouts.idle } // of two stalls, the second is shorter
  const confirmations = new Facts(facts, 'tag', parseConfirmation)
  const limits = { patience: timeouts.stale, negative, fill }
  return opening.use(new ProxyRegistry(store, { upstreams, hosted, offline, confirmations, usage, ...limits, logger }))
}

/** Not while an operator wants the tree to hold still. */
function evicts({ storage, proxy }: Config): boolean {
  return proxy !== undefined && !storage.readOnly && (proxy.cache.maxSize !== undefined || proxy.cache.ttl > 0)
}

function openEvictor({ storage, proxy }: Config, store: LocalStore, recorder: UsageRecorder, logger: Logger): Evictor {
  const { cache, upstreams = [], hosted = [] } = proxy ?? {}
  return new Evictor({
    store,
    recorder,
    folder: join(storage.rootDirectory, 'entrepot'),
    maxSize: cache?.maxSize,
    ttl: cache?.ttl ?? 0,
    pins: cache?.pins ?? [],
    isCopy: copyTest(upstreams, hosted),
    logger,
  })
}

function credentialsOf({ url, credentials }: MirrorConfig | UpstreamConfig, logger: Logger): CredentialSource {
  switch (credentials.kind) {
    case 'anonymous':
      return anonymousAccess()
    case 'password':
      return fixedCredentials(credentials)
    case 'exec': {
      const { command, lifetime } = credentials
      return new CredentialHelper({ command: parseCommand(command), server: helperServer(url.host), lifetime })
    }
    case 'authfile':
      return new AuthFile({ path: credentials.path, host: url.host, logger })
  }
}

/** Descriptors and confirmations of tags: in redis where replicas share them, else in memory. */
function openFacts({ storage, redis }: Config, logger: Logger): FactStore {
  const { kind, size } = storage.descriptorCache
  return openFactStore(
    kind === 'redis' && redis !== undefined ? { kind, redis } : { kind: 'memory', entries: size },
    logger,
  )
}

function sweepNowAndThen({ proxy }: Config, store: LocalStore, opening: AsyncDisposableStack, logger: Logger): void {
  const maxSize = proxy?.cache.maxSize
  const leftovers = maxSize === undefined ? leftoverSize : maxSize / 10
  const sweep = async (): Promise<void> => {
    try {
      const { files, bytes } = await store.sweepTemporary({ age: temporaryAge, leftovers })
      if (files > 0) logger.info({ files, bytes }, 'temporary files swept')
    } catch (error) {
      logger.warn({ error }, 'temporary files could not be swept')
    }
  }
  const timer = setInterval(() => void sweep(), temporaryAge)
  opening.defer(() => clearInterval(timer))
  void sweep()
}

function purgeNowAndThen(
  { storage }: Config,
  driver: StorageDriver,
  opening: AsyncDisposableStack,
  logger: Logger,
): void {
  const { enabled, age, interval, dryRun } = storage.uploadPurging
  if (enabled) opening.use(new UploadPurger({ driver, age, interval, dryRun, logger }))
}

/** Collects the garbage of a configured storage, beside whatever serves it. @throws GarbageError where nothing was done */
export async function collectGarbage(
  config: Config,
  options: Omit<GarbageOptions, 'driver' | 'descriptors'>,
  logger: Logger,
): Promise<GarbageReport> {
  if (config.storage.driver === 'inmemory') {
    throw new GarbageError('storage is in memory: it ends with its process, so there is nothing to collect')
  }
  await using facts = openSharedFacts(config, logger)
  return await collect({ ...options, driver: openDriver(config), descriptors: descriptorCache(facts) })
}

/** Looks at the whole of a configured storage, beside whatever serves it. @throws VerifyError where nothing was done */
export async function verifyStorage(
  config: Config,
  options: Omit<VerifyOptions, 'driver' | 'descriptors' | 'isHosted' | 'areChildrenNeeded'>,
  logger: Logger,
): Promise<VerifyReport> {
  if (config.storage.driver === 'inmemory') {
    throw new VerifyError('storage is in memory: it ends with its process, so there is nothing to verify')
  }
  await using facts = openSharedFacts(config, logger)
  const { proxy, validation } = config
  const selector = new Selector(proxy?.upstreams ?? [], proxy?.hosted ?? [])
  return await verify({
    ...options,
    driver: openDriver(config),
    descriptors: descriptorCache(facts),
    isHosted: (name) => selector.select(name, undefined).kind === 'ours',
    areChildrenNeeded: !validation.disabled && validation.indexes.platforms === 'all',
  })
}

/** What other processes hold in memory is theirs; redis they share. */
function openSharedFacts(config: Config, logger: Logger): FactStore {
  return config.storage.descriptorCache.kind === 'redis'
    ? openFacts(config, logger)
    : openFactStore({ kind: 'none' }, logger)
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version)
  throw new Error('package.json has no version')
}

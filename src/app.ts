// The one room that knows everybody: configuration → drivers → storage → proxy → API → listener.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EndpointReading } from './metrics/readings.ts'
import { HotReplies } from './api/hot-replies.ts'
import { api, malformedRequest, tooManyRequests } from './api/api.ts'
import { manifestRules } from './api/manifest-rules.ts'
import type { Schema1Options } from './api/schema1.ts'
import { ConfigError } from './config/config-error.ts'
import type { Config } from './config/config.ts'
import { readText } from './config/named-file.ts'
import type { DebugListener, DebugParts } from './debug-listener.ts'
import { descriptorCache } from './cache/descriptors.ts'
import { openFactStore } from './cache/store.ts'
import { PathNotFoundError, type Redirect, type StorageDriver } from './drivers/driver.ts'
import type { Publisher } from './events/publisher.ts'
import { ClientLimits } from './http/client-limits.ts'
import { TrustedProxies } from './http/forwarded.ts'
import { listen, type ListenerOptions } from './http/listener.ts'
import { SentMemoryFiles } from './http/memory-files.ts'
import { LateSendfile } from './http/sendfile.ts'
import type { Evictor, EvictionCounts } from './ledger/evictor.ts'
import { UsageRecorder } from './ledger/recorder.ts'
import type { ProxyCounts } from './proxy/counts.ts'
import { copyTest } from './proxy/selection.ts'
import { asksUpstreams, checkGuard, openGuard } from './guard.ts'
import { openInstruments } from './instruments.ts'
import { openRegistry } from './pull-through.ts'
import { changedSections } from './reload.ts'
import type { Registry } from './registry/registry.ts'
import type { CacheLog } from './registry/cache-log.ts'
import { UploadPurger } from './storage/purge.ts'
import { openLocalRegistry, type LocalStore } from './storage/registry.ts'
import { openDriver, openFacts } from './stores.ts'
import { generateSigningKey, loadSigningKey, SigningKeyError, type SigningKey } from './schema1/signing-key.ts'
import { checkTls, openTls } from './tls.ts'
import { silentLogger, type Logger } from './telemetry/logger.ts'

export const version: string = readVersion()

export interface App extends AsyncDisposable {
  readonly url: string
  /** Of the debug listener, where there is one. */
  readonly debugUrl: string | undefined
  /**
   * Takes over what can change while it runs, for what is asked from now on.
   * @returns sections of the configuration that differ in what needs a restart
   */
  reload(config: Config): readonly string[]
  /** What the storage holds, in a few words: a walk that may take long. @throws the signal's reason */
  summary(signal: AbortSignal): Promise<string>
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
  const instruments = await openInstruments(config, version, opening, logger)
  const facts = opening.use(openFacts(config, logger))
  const driver = instruments.measured(openDriver(config))
  const redirect = await openRedirect(config)
  const usage = evicts(config) ? new UsageRecorder() : undefined
  const descriptors = descriptorCache(
    config.storage.descriptorCache.kind === 'none' ? openFactStore({ kind: 'none' }, logger) : facts,
  )
  const sendfile = config.http.sendfile ? new LateSendfile(logger) : undefined
  const memoryFiles = sendfile && opening.use(new SentMemoryFiles(sendfile, logger))
  const store = openLocalRegistry({
    driver,
    usage,
    descriptors,
    deleteEnabled: config.storage.deleteEnabled,
    verify: config.storage.verify,
    redirect,
    memoryFiles,
    logger,
  })
  if (!config.storage.readOnly) checkWritable(store, opening)
  const publisher = await openPublisher(config, opening, logger)
  const parts = { store, facts, usage, instruments, cacheLog: publisher, userAgent: `entrepot/${version}` }
  const opened = openRegistry(config, parts, opening, logger)
  const { proxy, places, reload } = opened
  const middleware = await openMiddleware(config, logger)
  const registry = await tellingRegistry(middleware(opened.registry), config, publisher)
  const access = await openGuard(config, proxy, logger)
  const tls = await openTls(config.http, opening, `entrepot/${version}`, logger)
  const hotReplies = isAskedEachTime(config) ? undefined : new HotReplies()
  const listener = opening.use(
    await listen(
      instruments.around(
        api(registry, {
          prefix: config.http.prefix,
          headers: config.http.headers,
          externalUrl: config.http.externalUrl,
          relativeUrls: config.http.relativeUrls,
          secret: config.http.secret ?? (await uploadSecret(driver, logger)),
          readOnly: config.storage.readOnly,
          describesRequests: publisher !== undefined,
          hotReplies,
          access,
          schema1: openSchema1(config),
          rules: manifestRules(config.validation, config.policy),
          catalog: { usual: Math.min(100, config.catalog.maxEntries), most: config.catalog.maxEntries },
          tags: { usual: Infinity, most: config.tags.maxTags },
        }),
      ),
      { ...listenerOptions(config), tls, sendfile, logger, observer: instruments.observer },
    ),
  )
  sweepNowAndThen(config, store, opening, logger)
  purgeNowAndThen(config, driver, opening, logger)
  if (config.storage.scrub.enabled) opening.use(store.scrub(config.storage.scrub))
  const evictor =
    usage === undefined
      ? undefined
      : opening.use(await openEvictor(config, store, { recorder: usage, cacheLog: publisher }, logger))
  instruments.read({
    descriptors: () => descriptors.counts(),
    damaged: () => store.damaged,
    places,
    proxy: proxy && ((): ProxyCounts => proxy.counts()),
    eviction: evictor && ((): EvictionCounts => evictor.counts()),
    notifications: publisher && ((): readonly EndpointReading[] => publisher.counts()),
    maxSize: config.proxy?.cache.maxSize,
  })
  const debug = await openDebug(config, { driver, store, instruments }, opening, logger)
  const resources = opening.move()
  return {
    url: config.http.socket === undefined ? withPath(listener.url, config.http.prefix) : listener.url,
    reload(next) {
      reload(next)
      hotReplies?.clear()
      return changedSections(config, next)
    },
    summary: async (signal) => await store.summary({ signal }),
    debugUrl: debug?.url,
    async close() {
      debug?.drain()
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

/** Reads the files that a start reads, in the same order, and loads modules; nothing is opened or made. @throws ConfigError as a start does */
export async function checkFiles(config: Config): Promise<void> {
  await openMiddleware(config, silentLogger)
  await checkGuard(config)
  await checkTls(config.http)
  openSchema1(config)
}

/** Says in the log what nobody can mend but an operator; clients that come before are told by what fails. */
function checkWritable(store: LocalStore, opening: AsyncDisposableStack): void {
  const checked = store.checkWritable()
  opening.defer(async () => await checked)
}

/** Who has nothing to be told starts sooner and smaller without it. */
async function openDebug(
  config: Config,
  parts: DebugParts,
  opening: AsyncDisposableStack,
  logger: Logger,
): Promise<DebugListener | undefined> {
  const { storage, files, http, tcp } = config.health
  if (config.http.debug === undefined && storage === undefined && files.length + http.length + tcp.length === 0) return
  const { openDebugListener } = await import('./debug-listener.ts')
  return await openDebugListener(config, parts, opening, logger)
}

/** `undefined` where nobody wants to be told. */
async function openPublisher(
  { notifications, storage, http }: Config,
  opening: AsyncDisposableStack,
  logger: Logger,
): Promise<Publisher | undefined> {
  const { endpoints, queue: bounds } = notifications
  if (endpoints.length === 0) return undefined
  const { Publisher: Opened } = await import('./events/publisher.ts')
  const folder = storage.driver === 'inmemory' ? undefined : join(storage.rootDirectory, 'entrepot/events')
  return opening.use(
    new Opened({ endpoints, bounds, folder, port: http.port, userAgent: `entrepot/${version}`, logger }),
  )
}

async function tellingRegistry(
  registry: Registry,
  { notifications }: Config,
  publisher: Publisher | undefined,
): Promise<Registry> {
  if (publisher === undefined) return registry
  const { events } = await import('./events/registry.ts')
  const { includeReferences } = notifications
  return events(registry, { includeReferences, publish: (event) => publisher.publish(event) })
}

function listenerOptions({ http }: Config): Omit<ListenerOptions, 'logger'> {
  const { host, port, socket, limits, trustedProxies } = http
  const { connections, requests, rate } = limits
  // An empty address is a unix socket's there, and that of a client who has gone elsewhere.
  const trusted = trustedProxies.filter((place) => place !== 'unix' || socket !== undefined)
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
    refuseUnparsed: malformedRequest(http),
    trustedProxies: trusted.length === 0 ? undefined : new TrustedProxies(trusted),
  }
}

function withPath(url: string, path: string): string {
  return new URL(path, url).href.replace(/\/$/, '')
}

async function openRedirect({ middleware }: Config): Promise<Redirect | undefined> {
  if (middleware.storage.length === 0) return undefined
  const { redirectBy } = await import('./middleware/redirect.ts')
  return redirectBy(middleware.storage)
}

/** @throws ConfigError where a module cannot be used */
async function openMiddleware({ middleware }: Config, logger: Logger): Promise<(registry: Registry) => Registry> {
  if (middleware.registry.length + middleware.repository.length === 0) return (registry) => registry
  const { ModuleError, loadModules } = await import('./middleware/modules.ts')
  try {
    return await loadModules(middleware, logger)
  } catch (cause) {
    throw cause instanceof ModuleError ? new ConfigError(cause.message, { cause }) : cause
  }
}

/** Whether somebody behind the guard has to decide about each pull, or to hear of it. The guard itself is asked anyway. */
function isAskedEachTime(config: Config): boolean {
  const { middleware, notifications } = config
  const { registry, repository } = middleware
  return asksUpstreams(config) || notifications.endpoints.length + registry.length + repository.length > 0
}

/** @throws ConfigError where the key cannot be read */
function openSchema1({ schema1 }: Config): Schema1Options {
  const { enabled, keyFile } = schema1
  if (keyFile === undefined) {
    let made: SigningKey | undefined
    return {
      enabled,
      get key() {
        return (made ??= generateSigningKey()) // few clients ever want a signature
      },
    }
  }
  const { key: name, path } = keyFile
  const text = readText(path, name)
  try {
    return { enabled, key: loadSigningKey(text) }
  } catch (cause) {
    if (!(cause instanceof SigningKeyError)) throw cause
    throw new ConfigError(`${name}: ${path} cannot be used: ${cause.message}`, { cause })
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

/** Not while an operator wants the tree to hold still. */
function evicts({ storage, proxy }: Config): boolean {
  return proxy !== undefined && !storage.readOnly && (proxy.cache.maxSize !== undefined || proxy.cache.ttl > 0)
}

async function openEvictor(
  { storage, proxy }: Config,
  store: LocalStore,
  { recorder, cacheLog }: { readonly recorder: UsageRecorder; readonly cacheLog: CacheLog | undefined },
  logger: Logger,
): Promise<Evictor> {
  const { Evictor: Opened } = await import('./ledger/evictor.ts')
  const { cache, upstreams = [], hosted = [] } = proxy ?? {}
  return new Opened({
    store,
    recorder,
    folder: join(storage.rootDirectory, 'entrepot'),
    maxSize: cache?.maxSize,
    ttl: cache?.ttl ?? 0,
    pins: cache?.pins ?? [],
    isCopy: copyTest(upstreams, hosted),
    cacheLog,
    logger,
  })
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

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version)
  throw new Error('package.json has no version')
}

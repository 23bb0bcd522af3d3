// The proxy behind the API, with what no configuration reaches in a test's hands: the driver, the clock, the name server,
// and what the upstream's condition is said to be.
import { api } from '../../src/api/api.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { Facts } from '../../src/cache/facts.ts'
import { openFactStore } from '../../src/cache/store.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { listen } from '../../src/http/listener.ts'
import { LateSendfile } from '../../src/http/sendfile.ts'
import { parseConfirmation } from '../../src/proxy/freshness.ts'
import { ProxyRegistry, type ProxyOptions } from '../../src/proxy/registry.ts'
import type { Upstream } from '../../src/proxy/selection.ts'
import type { LocalRegistry } from '../../src/registry/registry.ts'
import type { UpstreamCondition } from '../../src/registry/upstream-source.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { anonymousAccess, type CredentialSource } from '../../src/upstream/credentials.ts'
import type { TlsOptions } from '../../src/upstream/tls.ts'
import { UpstreamRegistry } from '../../src/upstream/upstream-registry.ts'
import { apiOptions } from './api-options.ts'
import { recordingLogger, type Recording } from './recording-logger.ts'

export interface ProxyUnderTest extends AsyncDisposable, Recording {
  readonly url: string
  /** What the proxy keeps; its repositories are named `up/…`. */
  readonly local: LocalRegistry
  readonly proxy: ProxyRegistry
  /** Moves the clock on, by milliseconds. */
  pass(milliseconds: number): void
  /** What the upstream's condition is said to be. */
  condition: UpstreamCondition
  /** Whether the upstream's name is found. */
  isNameKnown: boolean
  /** How often it was looked up: once for each connection that is tried. */
  readonly lookups: () => number
}

export interface ProxyUnderTestOptions {
  readonly upstream?: Partial<Upstream>
  readonly proxy?: Partial<ProxyOptions>
  readonly credentials?: CredentialSource
  readonly deleteEnabled?: boolean
  /** In memory without it. */
  readonly driver?: StorageDriver
  /** How long the upstream is waited for, in milliseconds. */
  readonly firstByte?: number
  /** How long the next bytes are waited for, in milliseconds. */
  readonly idle?: number
  readonly tls?: TlsOptions
}

/** One upstream, `up`, the default one, at a name that only we know. */
export async function startProxyUnderTest(
  origin: { readonly url: string | URL },
  options: ProxyUnderTestOptions = {},
): Promise<ProxyUnderTest> {
  await using opening = new AsyncDisposableStack()
  const recording = recordingLogger()
  const { logger } = recording
  const facts = openFactStore({ kind: 'memory' }, silentLogger)
  const local = openLocalRegistry({
    driver: options.driver ?? inMemoryDriver(),
    descriptors: descriptorCache(facts),
    deleteEnabled: options.deleteEnabled ?? false,
    logger,
  })
  const url = new URL(origin.url)
  url.hostname = 'origin.test'
  const { firstByte = 2000 } = options
  const source = opening.use(
    new UpstreamRegistry({
      url,
      credentials: options.credentials ?? anonymousAccess(),
      realms: [],
      reserve: 0,
      timeouts: { connect: 2000, firstByte, idle: options.idle ?? 2000 },
      tls: options.tls,
      resolve(_, __, callback) {
        lookups++
        if (under.isNameKnown) callback(null, [{ address: '127.0.0.1', family: 4 }])
        else callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), [])
      },
      userAgent: 'entrepot/test',
      logger,
    }),
  )
  let lookups = 0
  let now = Date.parse('2026-01-01')
  const upstream: Upstream = {
    name: 'up',
    aliases: [],
    default: true,
    library: false,
    host: url.host,
    freshness: 0,
    tags: [],
    onGone: 'serve',
    onDenied: 'serve',
    reserve: 0,
    ...options.upstream,
    source: options.upstream?.source ?? {
      repository: (name) => source.repository(name),
      condition: () => under.condition,
    },
  }
  const proxy = opening.use(
    new ProxyRegistry(local, {
      upstreams: [upstream],
      hosted: [],
      offline: false,
      confirmations: new Facts(facts, 'tag', parseConfirmation),
      fill: { connections: 1, minSize: 2 ** 26, retries: 3, patience: 4000 },
      patience: 0,
      negative: 0,
      now: () => now,
      logger,
      ...options.proxy,
    }),
  )
  const handler = api(proxy, apiOptions())
  const sendfile = new LateSendfile(logger)
  const listener = opening.use(await listen(handler, { host: '127.0.0.1', port: 0, logger, sendfile }))
  const resources = opening.move()
  const under: ProxyUnderTest = {
    ...recording,
    url: listener.url,
    local,
    proxy,
    pass(milliseconds) {
      now += milliseconds
    },
    condition: { isReachable: true, pullsLeft: undefined },
    isNameKnown: true,
    lookups: () => lookups,
    async [Symbol.asyncDispose]() {
      await listener.close(0)
      await resources.disposeAsync()
    },
  }
  return under
}

/** Waits for something that no event tells of. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(setImmediate)
}

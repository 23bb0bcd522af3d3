// The registry that is served: our own storage, with the configured upstreams behind it.
import { Facts, type FactStore } from './cache/facts.ts'
import type { Config } from './config/config.ts'
import type { MirrorConfig, UpstreamConfig } from './config/upstream-section.ts'
import type { Instruments } from './instruments.ts'
import type { PlaceSource } from './metrics/readings.ts'
import { parseConfirmation } from './proxy/freshness.ts'
import { ProxyRegistry } from './proxy/registry.ts'
import { titleOf, type Upstream } from './proxy/selection.ts'
import type { CacheLog } from './registry/cache-log.ts'
import type { Registry } from './registry/registry.ts'
import type { UpstreamSource } from './registry/upstream-source.ts'
import type { UsageLog } from './registry/usage.ts'
import { LiveUpstreams, policyOf } from './reload.ts'
import type { LocalStore } from './storage/registry.ts'
import type { Logger } from './telemetry/logger.ts'
import { AuthFile } from './upstream/auth-file.ts'
import { UpstreamCallerRights } from './upstream/caller-rights.ts'
import { CredentialHelper, parseCommand } from './upstream/credential-helper.ts'
import { anonymousAccess, ConfiguredCredentials, type CredentialSource } from './upstream/credentials.ts'
import { loadUndici } from './upstream/dispatchers.ts'
import { helperServer } from './upstream/docker-config.ts'
import { mirrored, type Mirror } from './upstream/mirrored.ts'
import { UpstreamRegistry, type UpstreamOptions } from './upstream/upstream-registry.ts'

export interface RegistryParts {
  readonly store: LocalStore
  readonly facts: FactStore
  readonly usage: UsageLog | undefined
  readonly instruments: Instruments
  readonly cacheLog: CacheLog | undefined
  /** Of us, as upstreams see it. */
  readonly userAgent: string
}

export interface OpenedRegistry {
  /** Without a proxy, the store itself. */
  readonly registry: Registry
  readonly proxy: ProxyRegistry | undefined
  /** Upstreams and their mirrors, for those who watch them. */
  readonly places: readonly PlaceSource[]
  readonly reload: (config: Config) => void
}

/** How an upstream or a mirror is reached, whoever asks. */
type Way = Omit<UpstreamOptions, 'credentials' | 'reserve'>

/** What it opens is disposed with `opening`. */
export function openRegistry(
  config: Config,
  { store, facts, usage, instruments, cacheLog, userAgent }: RegistryParts,
  opening: AsyncDisposableStack,
  logger: Logger,
): OpenedRegistry {
  const { proxy } = config
  if (proxy === undefined) return { registry: store, proxy: undefined, places: [], reload: () => {} }
  const places: PlaceSource[] = []
  const live = new LiveUpstreams()
  const wayTo = ({ url, tls, httpProxy, realms }: MirrorConfig | UpstreamConfig): Way => {
    const tracer = instruments.tracerOf(url.origin)
    return { url, tls, proxies: httpProxy, realms, timeouts: proxy.timeouts, tracer, userAgent, logger }
  }
  const openSource = (title: string, access: MirrorConfig | UpstreamConfig, reserve: number): UpstreamSource => {
    const credentials = live.credentials(title, access, () => credentialsOf(access, logger))
    const source = opening.use(new UpstreamRegistry({ ...wayTo(access), credentials, reserve }))
    places.push({
      upstream: title,
      host: access.url.host,
      traffic: () => source.traffic(),
      condition: () => source.condition(),
    })
    return source
  }
  const upstreams = proxy.upstreams.map((upstream): Upstream => {
    const title = titleOf({ name: upstream.name, host: upstream.url.host })
    const main = openSource(title, upstream, upstream.reserve)
    const mirrors = upstream.mirrors.map((mirror): Mirror => {
      return { source: openSource(title, mirror, 0), trusted: mirror.trusted }
    })
    const { name, aliases, library, access } = upstream
    return live.upstream({
      name,
      aliases,
      library,
      ...policyOf(upstream),
      reserve: upstream.reserve,
      default: upstream.default,
      host: upstream.url.host,
      rights: access === 'client' ? opening.use(new UpstreamCallerRights(wayTo(upstream))) : undefined,
      source: mirrors.length === 0 ? main : mirrored(main, mirrors, logger),
    })
  })
  const { hosted, offline, timeouts, negative } = proxy
  if (!offline) loadSoon(opening, logger)
  const fill = { ...proxy.fill, patience: 1.8 * timeouts.idle } // of two stalls, the second is shorter
  const confirmations = new Facts(facts, 'tag', parseConfirmation)
  const limits = { patience: timeouts.stale, negative, fill }
  const options = { upstreams, hosted, offline, confirmations, usage, cacheLog, ...limits, logger }
  const registry = opening.use(new ProxyRegistry(store, options))
  return {
    registry,
    proxy: registry,
    places,
    reload({ proxy: next }) {
      if (next === undefined) return
      live.reload(next)
      registry.adjust({ patience: next.timeouts.stale, negative: next.negative })
    },
  }
}

/** A start does not wait for it, nor does the first pull; and what is loaded cannot be missing later. */
function loadSoon(opening: AsyncDisposableStack, logger: Logger): void {
  const load = async (): Promise<void> => {
    try {
      await loadUndici()
    } catch (error) {
      logger.warn({ error }, 'what asks upstreams could not be loaded')
    }
  }
  const timer = setTimeout(() => void load(), 1000).unref()
  opening.defer(() => clearTimeout(timer))
}

function credentialsOf({ url, credentials }: MirrorConfig | UpstreamConfig, logger: Logger): CredentialSource {
  switch (credentials.kind) {
    case 'anonymous':
      return anonymousAccess()
    case 'password':
      return new ConfiguredCredentials(credentials)
    case 'exec': {
      const { command, lifetime } = credentials
      return new CredentialHelper({ command: parseCommand(command), server: helperServer(url.host), lifetime })
    }
    case 'authfile':
      return new AuthFile({ path: credentials.path, host: url.host, logger })
  }
}

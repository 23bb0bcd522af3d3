// The pull-through registry: a registry of our own, and upstreams it is filled from, as one registry.
import { Coalescer } from '../async/coalesce.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrer.ts'
import type { LocalRegistry, Registry, RepositoryOptions } from '../registry/registry.ts'
import type { ListOptions, Manifest, Repository } from '../registry/source.ts'
import type { RemovableRepository, WritableRepository } from '../registry/store.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import { ProxyBlobs } from './blobs.ts'
import { Fills } from './fills.ts'
import { Freshness, type Confirmations } from './freshness.ts'
import { ProxyManifests } from './manifests.ts'
import { NamedBlobs } from './proof.ts'
import { ReferrerCopies } from './referrer-copies.ts'
import { ProxyReferrers } from './referrers.ts'
import { Selector, type Selection, type Upstream } from './selection.ts'
import { ProxyTags } from './tags.ts'

export interface ProxyOptions {
  readonly upstreams: readonly Upstream[]
  /** Globs of repositories that are ours, whatever upstreams claim. */
  readonly hosted: readonly string[]
  /** Never dial out: what is here is served, all else is unknown. */
  readonly offline: boolean
  readonly confirmations: Confirmations
  /** Who is told what clients use of the copies. */
  readonly usage?: UsageLog | undefined
  readonly logger: Logger
}

/** Disposing it ends the running fills and copies. */
export class ProxyRegistry implements Registry, AsyncDisposable {
  readonly #local: LocalRegistry
  readonly #options: ProxyOptions
  readonly #selector: Selector
  readonly #stop = new AbortController()
  readonly #fills: Fills
  readonly #named = new NamedBlobs()
  readonly #freshness: Freshness
  readonly #fetches = new Coalescer<Manifest>()
  readonly #revalidations = new Coalescer<Descriptor>()
  readonly #stats = new Coalescer<Descriptor>()
  readonly #searches = new Coalescer<boolean>()
  readonly #referrerLists = new Coalescer<readonly Referrer[]>()
  readonly #copies: ReferrerCopies

  constructor(local: LocalRegistry, options: ProxyOptions) {
    this.#local = local
    this.#options = options
    this.#selector = new Selector(options.upstreams, options.hosted)
    this.#freshness = new Freshness(options.confirmations)
    this.#fills = new Fills({ content: local.content, logger: options.logger, signal: this.#stop.signal })
    this.#copies = new ReferrerCopies({ logger: options.logger, signal: this.#stop.signal })
  }

  repository(name: RepositoryName, options?: RepositoryOptions): Repository {
    const selection = this.#selector.select(name, options?.namespace)
    if (selection.kind === 'ours') return this.#local.repository(name)
    if (options?.trace !== undefined) options.trace.upstream = selection.upstream.name ?? selection.upstream.host
    return this.#pullThrough(name, selection)
  }

  writable(name: RepositoryName, options?: RepositoryOptions): WritableRepository {
    const selection = this.#selector.select(name, options?.namespace)
    if (selection.kind === 'ours') return this.#local.writable(name)
    const owner = selection.upstream.name ?? selection.upstream.host
    throw new RegistryError('UNSUPPORTED', `${name} is a copy of a repository of ${owner}: push it there`)
  }

  removable(name: RepositoryName, options?: RepositoryOptions): RemovableRepository {
    const selection = this.#selector.select(name, options?.namespace)
    return this.#local.removable(selection.kind === 'ours' ? name : selection.local)
  }

  list(options?: ListOptions): AsyncIterable<RepositoryName> {
    return this.#local.list(options)
  }

  #pullThrough(name: RepositoryName, selection: Extract<Selection, { kind: 'upstream' }>): Repository {
    const { upstream } = selection
    const { host } = upstream
    const local = this.#local.repository(selection.local)
    const remote = this.#options.offline ? undefined : upstream.source.repository(selection.remote)
    const { signal } = this.#stop
    const { usage, logger } = this.#options
    const manifests = new ProxyManifests({
      local,
      remote: remote?.manifests,
      named: this.#named,
      usage,
      fetches: this.#fetches,
      logger,
      signal,
    })
    const blobs = new ProxyBlobs({
      local,
      remote: remote?.blobs,
      host,
      content: this.#local.content,
      fills: this.#fills,
      named: this.#named,
      usage,
      stats: this.#stats,
      searches: this.#searches,
      signal,
    })
    const shared = { local, host, manifests, freshness: this.#freshness, freshFor: upstream.freshness, logger, signal }
    const tags = new ProxyTags({ ...shared, usage, remote: remote?.tags, revalidations: this.#revalidations })
    const referrers = new ProxyReferrers({
      ...shared,
      remote: remote?.referrers,
      blobs,
      tags,
      copies: this.#copies,
      requests: this.#referrerLists,
    })
    return { name, blobs, manifests, tags, referrers }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new RegistryError('UNAVAILABLE', 'the registry is shutting down'))
    await this.#copies[Symbol.asyncDispose]()
    await this.#fills[Symbol.asyncDispose]()
    const running = [this.#fetches, this.#revalidations, this.#stats, this.#searches, this.#referrerLists]
    await Promise.all(running.map(async (coalescer) => await coalescer.settled()))
  }
}

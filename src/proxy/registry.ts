// The pull-through registry: a registry of our own, and upstreams it is filled from, as one registry.
import { Coalescer } from '../async/coalesce.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrer.ts'
import type { Trace } from '../registry/call.ts'
import type { ClaimedRepository } from '../registry/caller-rights.ts'
import type { CacheLog } from '../registry/cache-log.ts'
import type { LocalRegistry, Registry, RepositoryOptions } from '../registry/registry.ts'
import type { ListOptions, Manifest, Repository } from '../registry/source.ts'
import type { RemovableRepository, WritableRepository } from '../registry/store.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import { ProxyBlobs } from './blobs.ts'
import { StaleAnswers, type ProxyCounts } from './counts.ts'
import { Fills } from './fills.ts'
import { Freshness, type Confirmations } from './freshness.ts'
import { ProxyManifests } from './manifests.ts'
import { NegativeAnswers } from './negative-answers.ts'
import { Patience } from './patience.ts'
import { NamedBlobs } from './proof.ts'
import { ReferrerCopies } from './referrer-copies.ts'
import { ProxyReferrers } from './referrers.ts'
import { clearedByRemoving, clearedByStoring, remembering } from './remembering.ts'
import { copyTest, Selector, titleOf, type Selection, type Upstream } from './selection.ts'
import { StorageTrouble } from './storage-trouble.ts'
import { TagLists } from './tag-lists.ts'
import { ProxyTags } from './tags.ts'
import type { TransferSettings } from './transfer.ts'

export interface ProxyOptions {
  readonly upstreams: readonly Upstream[]
  /** Globs of repositories that are ours, whatever upstreams claim. */
  readonly hosted: readonly string[]
  /** Never dial out: what is here is served, all else is unknown. */
  readonly offline: boolean
  readonly confirmations: Confirmations
  readonly fill: TransferSettings
  /** Milliseconds that a client waits for an upstream where something stale can be served; 0: as the upstream's limits. */
  readonly patience: number
  /** Milliseconds for which it is remembered that an upstream does not have, or does not give us, something. */
  readonly negative: number
  /** Who is told what clients use of the copies. */
  readonly usage?: UsageLog | undefined
  /** Who is told what becomes of the copies. */
  readonly cacheLog?: CacheLog | undefined
  readonly logger: Logger
  /** Milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined
}

/** Disposing it ends the running fills and copies. */
export class ProxyRegistry implements Registry, AsyncDisposable {
  readonly #local: LocalRegistry
  readonly #options: ProxyOptions
  readonly #selector: Selector
  readonly #stop = new AbortController()
  readonly #fills: Fills
  readonly #named = new NamedBlobs()
  readonly #trouble: StorageTrouble
  readonly #freshness: Freshness
  readonly #fetches = new Coalescer<Manifest>()
  readonly #revalidations = new Coalescer<Descriptor>()
  readonly #stats = new Coalescer<Descriptor>()
  readonly #searches = new Coalescer<boolean>()
  readonly #referrerLists = new Coalescer<readonly Referrer[]>()
  readonly #copies: ReferrerCopies
  readonly #negative: NegativeAnswers
  readonly #stale: StaleAnswers
  readonly #lists: TagLists
  readonly #slow = new Set<Upstream>()
  /** Whether a repository is a copy that not everybody may have. */
  readonly #isClaimed: (local: RepositoryName) => boolean
  #patience: number

  constructor(local: LocalRegistry, options: ProxyOptions) {
    this.#local = local
    this.#options = options
    this.#patience = options.patience
    this.#selector = new Selector(options.upstreams, options.hosted)
    this.#isClaimed = copyTest(options.upstreams.filter(isClaiming), options.hosted)
    this.#freshness = new Freshness(options.confirmations, options.now)
    this.#negative = new NegativeAnswers({ lifetime: options.negative, now: options.now })
    this.#lists = new TagLists({ now: options.now })
    this.#stale = new StaleAnswers(options.upstreams, options.now)
    this.#trouble = new StorageTrouble(options.logger, options.now)
    this.#fills = new Fills({
      content: local.content,
      settings: options.fill,
      trouble: this.#trouble,
      cacheLog: options.cacheLog,
      logger: options.logger,
      signal: this.#stop.signal,
    })
    this.#copies = new ReferrerCopies({ logger: options.logger, signal: this.#stop.signal })
  }

  repository(name: RepositoryName, options?: RepositoryOptions): Repository {
    const selection = this.#selector.select(name, options?.namespace)
    if (selection.kind === 'ours') return this.#local.repository(name)
    if (options?.trace !== undefined) {
      options.trace.upstream = titleOf(selection.upstream)
      options.trace.repository = selection.local
    }
    checkGranted(selection, options?.trace)
    return this.#pullThrough(name, selection)
  }

  writable(name: RepositoryName, options?: RepositoryOptions): WritableRepository {
    const selection = this.#selector.select(name, options?.namespace)
    if (selection.kind === 'ours') return this.#local.writable(name)
    const owner = titleOf(selection.upstream)
    throw new RegistryError('UNSUPPORTED', `${name} is a copy of a repository of ${owner}: push it there`)
  }

  removable(name: RepositoryName, options?: RepositoryOptions): RemovableRepository {
    const selection = this.#selector.select(name, options?.namespace)
    if (selection.kind === 'ours') return this.#local.removable(name)
    checkGranted(selection, options?.trace)
    return clearedByRemoving(this.#local.removable(selection.local), selection.local, this.#negative)
  }

  place(name: RepositoryName, options?: RepositoryOptions): RepositoryName {
    const selection = this.#selector.select(name, options?.namespace)
    return selection.kind === 'ours' ? selection.name : selection.local
  }

  holderOf(digest: Digest): RepositoryName | undefined {
    const holder = this.#local.holderOf(digest)
    return holder !== undefined && this.#isClaimed(holder) ? undefined : holder
  }

  /** Without copies that not everybody may have. */
  list(options?: ListOptions): AsyncIterable<RepositoryName> {
    const names = this.#local.list(options)
    return this.#options.upstreams.some(isClaiming) ? without(names, this.#isClaimed) : names
  }

  /**
   * Where an upstream's own word decides who may have the copy that a client means; `undefined`: it is for everybody.
   * @throws RegistryError NAME_UNKNOWN, NAME_INVALID as `place` does
   */
  findClaimed(name: RepositoryName, namespace: string | undefined): ClaimedRepository | undefined {
    const selection = this.#selector.select(name, namespace)
    if (selection.kind === 'ours') return undefined
    const { upstream, remote } = selection
    const { rights } = upstream
    return rights && { upstream: titleOf(upstream), repository: remote, rights }
  }

  /** For what is asked from now on. */
  adjust({ patience, negative }: Pick<ProxyOptions, 'patience' | 'negative'>): void {
    this.#patience = patience
    this.#negative.lifetime = negative
  }

  /** What has been counted since the start. */
  counts(): ProxyCounts {
    return { staleAnswers: this.#stale.counts, fills: this.#fills.counts() }
  }

  #pullThrough(name: RepositoryName, selection: Extract<Selection, { kind: 'upstream' }>): Repository {
    const { upstream } = selection
    const { host } = upstream
    const local = clearedByStoring(this.#local.repository(selection.local), this.#negative)
    const remote = this.#options.offline ? undefined : upstream.source.repository(selection.remote)
    const { signal } = this.#stop
    const { logger, usage, cacheLog } = this.#options
    const limit = this.#patience
    const manifests = new ProxyManifests({
      local,
      remote: remote?.manifests,
      host,
      named: this.#named,
      usage,
      cacheLog,
      fetches: this.#fetches,
      stats: this.#stats,
      trouble: this.#trouble,
      signal,
    })
    const blobs = new ProxyBlobs({
      local,
      remote: remote?.blobs,
      host,
      content: this.#local.content,
      fills: this.#fills,
      named: this.#named,
      isNamingProof: !this.#options.upstreams.some(isClaiming),
      trouble: this.#trouble,
      usage,
      stats: this.#stats,
      searches: this.#searches,
      signal,
    })
    const patience = new Patience({ upstream, limit, slow: this.#slow, logger })
    const freshness = this.#freshness
    const stale = this.#stale
    const trouble = this.#trouble
    const shared = { local, upstream, manifests, freshness, patience, stale, trouble, logger, signal }
    const tags = new ProxyTags({
      ...shared,
      usage,
      cacheLog,
      remote: remote?.tags,
      revalidations: this.#revalidations,
      lists: this.#lists,
    })
    const referrers = new ProxyReferrers({
      ...shared,
      remote: remote?.referrers,
      blobs,
      tags,
      copies: this.#copies,
      requests: this.#referrerLists,
    })
    const repository = { name, blobs, manifests, tags, referrers }
    return remote === undefined ? repository : remembering(repository, local, this.#negative)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new RegistryError('UNAVAILABLE', 'the registry is shutting down'))
    await this.#copies[Symbol.asyncDispose]()
    await this.#fills[Symbol.asyncDispose]()
    const running = [this.#fetches, this.#revalidations, this.#stats, this.#searches, this.#referrerLists, this.#lists]
    await Promise.all(running.map(async (coalescer) => await coalescer.settled()))
    const stale = [...this.#stale.counts].filter(([, count]) => count > 0)
    if (stale.length > 0) this.#options.logger.info({ byUpstream: Object.fromEntries(stale) }, 'stale answers served')
  }
}

function isClaiming({ rights }: Upstream): boolean {
  return rights !== undefined
}

async function* without(
  names: AsyncIterable<RepositoryName>,
  isLeftOut: (name: RepositoryName) => boolean,
): AsyncGenerator<RepositoryName, void> {
  for await (const name of names) if (!isLeftOut(name)) yield name
}

/** @throws RegistryError NAME_UNKNOWN where the upstream was not asked about this client, or for another repository's sake */
function checkGranted({ upstream, local }: Extract<Selection, { kind: 'upstream' }>, trace: Trace | undefined): void {
  if (upstream.rights === undefined || trace?.granted?.includes(local) === true) return
  throw new RegistryError('NAME_UNKNOWN', { name: local })
}

// Tags of an upstream's repository: fresh, else revalidated by one HEAD, else stale (RFC 9111's words, of tags only).
import type { Coalescer } from '../async/coalesce.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import type { Tag } from '../oci/reference.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import type { CacheLog } from '../registry/cache-log.ts'
import type { ListOptions, ResolveOptions, TagSource } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { ifReadable } from '../registry/unreadable-error.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamTags } from '../registry/upstream-source.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { StaleAnswers } from './counts.ts'
import type { Freshness } from './freshness.ts'
import type { ProxyManifests } from './manifests.ts'
import { clientError, noteStale } from './outcome.ts'
import type { Patience, Question } from './patience.ts'
import { freshnessOf, type Upstream } from './selection.ts'
import type { StorageTrouble } from './storage-trouble.ts'
import type { TagLists } from './tag-lists.ts'

export interface ProxyTagsOptions {
  readonly local: WritableRepository
  /** Absent where we never dial out. */
  readonly remote: UpstreamTags | undefined
  readonly upstream: Upstream
  readonly manifests: ProxyManifests
  readonly freshness: Freshness
  readonly patience: Patience
  readonly stale: StaleAnswers
  /** The running revalidations of every repository. */
  readonly revalidations: Coalescer<Descriptor>
  readonly lists: TagLists
  readonly usage: UsageLog | undefined
  readonly cacheLog: CacheLog | undefined
  readonly trouble: StorageTrouble
  readonly logger: Logger
  /** Ends revalidations and listings, at shutdown. */
  readonly signal: AbortSignal
}

/** The upstream has no such tag any more, and said so twice: what was here is not to be served. */
class ForgottenError extends RegistryError {}

export class ProxyTags implements TagSource {
  readonly #options: ProxyTagsOptions

  constructor(options: ProxyTagsOptions) {
    this.#options = options
  }

  async resolve(tag: Tag, options?: ResolveOptions): Promise<Descriptor> {
    const { local, remote, upstream, freshness, patience } = this.#options
    const here = await this.#findHere(tag, options)
    if (here === undefined) return await this.#resolveUnknown(tag, options)
    if (remote === undefined) return here
    const freshFor = options?.freshness ?? freshnessOf(upstream, tag)
    const age = await freshness.ageOf(local.name, tag, here.digest, freshFor)
    if (age === 'stale') return await this.#confirm(remote, tag, here, options)
    if (age === 'ageing') patience.askAhead(this.#question(remote, tag))
    return here
  }

  /** What the upstream says now, its manifest stored; with the upstream's own error where it cannot. */
  async obtain(tag: Tag, options?: CallOptions): Promise<Descriptor> {
    const { remote } = this.#options
    if (remote === undefined) {
      throw new RegistryError('MANIFEST_UNKNOWN', `${tag} is not here, and this registry is offline`)
    }
    noteFrom(options?.trace, 'upstream')
    const { requests, key, task } = this.#question(remote, tag)
    return await requests.run(key, task, options?.signal)
  }

  /** What the upstream has, else what is here. */
  async *list(options?: ListOptions): AsyncGenerator<Tag, void> {
    const { local, remote, upstream, lists, signal } = this.#options
    let failure: unknown
    if (remote !== undefined) {
      const { freshness } = upstream
      const question = { repository: local.name, freshness, ask: () => remote.list({ signal }) }
      try {
        yield* lists.list(question, options?.after, options) // whole before its first tag
        return
      } catch (error) {
        if (!isAbsence(error) && !(error instanceof UpstreamError)) throw error
        failure = error
      }
    }
    try {
      for await (const tag of local.tags.list(options)) {
        if (failure !== undefined && options?.trace?.warning === undefined) this.#noteStale(failure, options)
        yield tag
      }
    } catch (error) {
      throw isAbsence(error) && failure !== undefined ? clientError(failure) : error
    }
  }

  /** What a tag means here, where its manifest is here too. */
  async #findHere(tag: Tag, options?: CallOptions): Promise<Descriptor | undefined> {
    const { local, usage } = this.#options
    const found = await ifReadable(local.tags.resolve(tag, { ...options, isCopy: true }))
    if (found !== undefined) usage?.used(local.name, found.digest)
    return found
  }

  async #resolveUnknown(tag: Tag, options: CallOptions | undefined): Promise<Descriptor> {
    try {
      return await this.obtain(tag, options)
    } catch (error) {
      throw clientError(error)
    }
  }

  /** What a stale tag means now, else what it meant. */
  async #confirm(
    remote: UpstreamTags,
    tag: Tag,
    stale: Descriptor,
    options: CallOptions | undefined,
  ): Promise<Descriptor> {
    try {
      return await this.#options.patience.ask(this.#question(remote, tag), options)
    } catch (error) {
      if (error instanceof ForgottenError) throw error
      if (!isAbsence(error) && !(error instanceof UpstreamError)) throw error
      if (this.#isDenied(error)) throw clientError(error)
      this.#noteStale(error, options)
      this.#note('stale', tag, stale)
      return stale
    }
  }

  #question(remote: UpstreamTags, tag: Tag): Question<Descriptor> {
    const { local, revalidations } = this.#options
    return {
      requests: revalidations,
      key: `${local.name}:${tag}`,
      task: async () => await this.#revalidate(remote, tag),
    }
  }

  #isDenied(error: unknown): boolean {
    const isRefusal = error instanceof UpstreamError && error.failure === 'denied'
    return isRefusal && this.#options.upstream.onDenied === 'deny'
  }

  /** Storage is whole before the tag moves. @throws ForgottenError */
  async #revalidate(remote: UpstreamTags, tag: Tag): Promise<Descriptor> {
    const { local, upstream, freshness, trouble } = this.#options
    const isHere = (await this.#findHere(tag)) !== undefined
    const descriptor = await this.#fetch(remote, tag, isHere).catch(async (error: unknown) => {
      if (!isHere || upstream.onGone === 'serve' || !isAbsence(error)) throw error
      return await this.#getOrForget(remote, tag)
    })
    try {
      if ((await ifReadable(local.tags.find(tag))) !== descriptor.digest) await local.tags.put(tag, descriptor.digest)
    } catch (error) {
      trouble.failed(error, { repository: local.name, tag })
    }
    await freshness.refresh(local.name, tag, descriptor.digest)
    this.#note('revalidated', tag, descriptor)
    return descriptor
  }

  #note(action: 'stale' | 'revalidated', tag: Tag, descriptor: Descriptor): void {
    const { local, upstream, cacheLog } = this.#options
    cacheLog?.note({ action, repository: local.name, tag, descriptor, host: upstream.host })
  }

  /** One HEAD; where the tag has moved, one GET of what it points at now. */
  async #fetch(remote: UpstreamTags, tag: Tag, isHere: boolean): Promise<Descriptor> {
    const { local, manifests, signal } = this.#options
    const head = await remote.find(tag, { signal })
    const stored = head === undefined ? undefined : await ifReadable(local.manifests.stat(head.digest, { signal }))
    if (stored !== undefined) return stored
    if (isHere) this.#spareReserve()
    // Where the upstream has forgotten the digest that it named a moment ago, the tag says what it means now.
    const named = head === undefined ? undefined : await ifReadable(manifests.obtain(head.digest, { signal }))
    const { descriptor } = named ?? (await manifests.store(await remote.get(tag, { signal })))
    return descriptor
  }

  /** A manifest's GET is a pull; those that are left may be wanted for what is not here at all. @throws UpstreamError */
  #spareReserve(): void {
    const { host, reserve, source } = this.#options.upstream
    const { pullsLeft } = source.condition()
    if (pullsLeft === undefined || pullsLeft >= reserve) return
    throw new UpstreamError(
      'rate-limited',
      host,
      `${host} leaves us ${pullsLeft} pulls, ${reserve} are kept in reserve`,
    )
  }

  /** The second question, by GET: one 404 may be an accident of the upstream's. */
  async #getOrForget(remote: UpstreamTags, tag: Tag): Promise<Descriptor> {
    const { local, upstream, manifests, trouble, logger, signal } = this.#options
    try {
      return (await manifests.store(await remote.get(tag, { signal }))).descriptor
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
    try {
      await local.tags.forget(tag)
      logger.info({ repository: local.name, tag, host: upstream.host }, 'tag forgotten: the upstream has it no more')
    } catch (error) {
      trouble.failed(error, { repository: local.name, tag })
    }
    throw new ForgottenError('MANIFEST_UNKNOWN', `${upstream.host} does not have it any more`)
  }

  #noteStale(error: unknown, options: CallOptions | undefined): void {
    const { local, upstream, stale, logger } = this.#options
    noteStale(error, { repository: local.name, upstream, stale, logger }, options?.trace)
  }
}

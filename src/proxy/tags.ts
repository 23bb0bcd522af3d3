// Tags of an upstream's repository: fresh, else revalidated by one HEAD, else stale (RFC 9111's words, of tags only).
import type { Coalescer } from '../async/coalesce.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { ifPresent, isAbsence, RegistryError } from '../oci/error.ts'
import type { Tag } from '../oci/reference.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import type { ListOptions, TagSource } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamTags } from '../registry/upstream-source.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Freshness } from './freshness.ts'
import type { ProxyManifests } from './manifests.ts'
import { clientError, noteStale } from './outcome.ts'

export interface ProxyTagsOptions {
  readonly local: WritableRepository
  /** Absent where we never dial out. */
  readonly remote: UpstreamTags | undefined
  readonly host: string
  readonly manifests: ProxyManifests
  readonly freshness: Freshness
  /** Milliseconds for which an answer of the upstream counts as fresh. */
  readonly freshFor: number
  /** The running revalidations of every repository. */
  readonly revalidations: Coalescer<Descriptor>
  readonly usage: UsageLog | undefined
  readonly logger: Logger
  /** Ends revalidations, at shutdown. */
  readonly signal: AbortSignal
}

export class ProxyTags implements TagSource {
  readonly #options: ProxyTagsOptions

  constructor(options: ProxyTagsOptions) {
    this.#options = options
  }

  async resolve(tag: Tag, options?: CallOptions): Promise<Descriptor> {
    const { local, remote, freshness, freshFor } = this.#options
    const known = await local.tags.find(tag, options)
    if (known !== undefined && (remote === undefined || (await freshness.isFresh(local.name, tag, known, freshFor)))) {
      const descriptor = await this.#statHere(known, options)
      if (descriptor !== undefined) return descriptor
    }
    try {
      return await this.obtain(tag, options)
    } catch (error) {
      if (!isAbsence(error) && !(error instanceof UpstreamError)) throw error
      const stale = known === undefined ? undefined : await this.#statHere(known, options)
      if (stale === undefined) throw clientError(error)
      this.#noteStale(error, options)
      return stale
    }
  }

  /** What the upstream says now, its manifest stored; with the upstream's own error where it cannot. */
  async obtain(tag: Tag, options?: CallOptions): Promise<Descriptor> {
    const { local, remote, revalidations } = this.#options
    if (remote === undefined) {
      throw new RegistryError('MANIFEST_UNKNOWN', `${tag} is not here, and this registry is offline`)
    }
    noteFrom(options?.trace, 'upstream')
    const task = async (): Promise<Descriptor> => await this.#revalidate(remote, tag)
    return await revalidations.run(`${local.name}:${tag}`, task, options?.signal)
  }

  /** What the upstream has, else what is here. */
  async *list(options?: ListOptions): AsyncGenerator<Tag, void> {
    const { local, remote } = this.#options
    let failure: unknown
    if (remote !== undefined) {
      noteFrom(options?.trace, 'upstream')
      try {
        yield* remote.list({ after: options?.after, signal: options?.signal }) // whole before its first tag
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

  /** One HEAD; where the tag has moved, one GET of what it points at now. Storage is whole before the tag moves. */
  async #revalidate(remote: UpstreamTags, tag: Tag): Promise<Descriptor> {
    const { local, manifests, freshness, logger, signal } = this.#options
    const head = await remote.find(tag, { signal })
    // Where the upstream has forgotten the digest that it named a moment ago, the tag says what it means now.
    const named = head === undefined ? undefined : await ifPresent(manifests.obtain(head.digest, { signal }))
    const { descriptor } = named ?? (await manifests.store(await remote.get(tag, { signal })))
    try {
      if ((await local.tags.find(tag)) !== descriptor.digest) await local.tags.put(tag, descriptor.digest)
    } catch (error) {
      logger.error({ repository: local.name, tag, error }, 'tag could not be stored')
    }
    await freshness.refresh(local.name, tag, descriptor.digest)
    return descriptor
  }

  async #statHere(digest: Digest, options: CallOptions | undefined): Promise<Descriptor | undefined> {
    const { local, usage } = this.#options
    const found = await ifPresent(local.manifests.stat(digest, options))
    if (found !== undefined) usage?.used(local.name, digest)
    return found
  }

  #noteStale(error: unknown, options: CallOptions | undefined): void {
    const { host, local, logger } = this.#options
    noteStale(error, { repository: local.name, host, logger }, options?.trace)
  }
}

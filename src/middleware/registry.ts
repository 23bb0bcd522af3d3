// A registry whose pulls are put to hooks: where they go, whether they may be, how long tags are fresh, what was pulled.
import { ToldStream } from '../bytes/stream.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrer.ts'
import type { Trace } from '../registry/call.ts'
import type { Registry, RepositoryOptions } from '../registry/registry.ts'
import type {
  BlobSource,
  ListOptions,
  ManifestSource,
  OpenBlob,
  ReferrersSource,
  Repository,
  ResolveOptions,
  TagSource,
} from '../registry/source.ts'
import type { RemovableRepository, WritableRepository } from '../registry/store.ts'
import { HookError, type ContainedHook } from './contained.ts'
import type { Pull, PullRequest, RouteRequest, TagRequest, Verdict } from './hooks.ts'

/** The hooks of one module. */
export interface HookedModule {
  /** Whether it has a say about a repository, as `_catalog` lists it; `route` is asked about all. */
  readonly isAsked: (repository: string) => boolean
  readonly route: ContainedHook<RouteRequest, KnownRoute> | undefined
  readonly allow: ContainedHook<PullRequest, Verdict> | undefined
  readonly freshness: ContainedHook<TagRequest, number | undefined> | undefined
  readonly onPull: ContainedHook<Pull, void> | undefined
}

/** A route whose repository can be one. */
export type KnownRoute =
  | { readonly upstream: string | undefined; readonly repository: RepositoryName | undefined }
  | 'none'
  | undefined

/** What is pushed, deleted and listed as a catalogue is no business of hooks. */
export class HookedRegistry implements Registry {
  readonly #registry: Registry
  readonly #modules: readonly HookedModule[]

  /** @param modules in the order in which they are asked */
  constructor(registry: Registry, modules: readonly HookedModule[]) {
    this.#registry = registry
    this.#modules = modules
  }

  repository(name: RepositoryName, options?: RepositoryOptions): Repository {
    return new HookedRepository(name, { registry: this.#registry, modules: this.#modules, options })
  }

  writable(name: RepositoryName, options?: RepositoryOptions): WritableRepository {
    return this.#registry.writable(name, options)
  }

  removable(name: RepositoryName, options?: RepositoryOptions): RemovableRepository {
    return this.#registry.removable(name, options)
  }

  /** Rights are given before a hook is asked, by the name that the client used. */
  place(name: RepositoryName, options?: RepositoryOptions): RepositoryName {
    return this.#registry.place(name, options)
  }

  holderOf(digest: Digest): RepositoryName | undefined {
    return this.#registry.holderOf(digest)
  }

  list(options?: ListOptions): AsyncIterable<RepositoryName> {
    return this.#registry.list(options)
  }
}

interface HookedRepositoryOptions {
  readonly registry: Registry
  readonly modules: readonly HookedModule[]
  readonly options: RepositoryOptions | undefined
}

/** Where a pull goes. */
interface Target {
  readonly repository: Repository
  /** As hooks are told of it. */
  readonly place: Pick<PullRequest, 'repository' | 'upstream' | 'user'>
  readonly modules: readonly HookedModule[]
}

/**
 * One object is one client's request, as a trace is: it is routed once, and allowed once, as what it asks for first. What is
 * read on the way from there (a tag's manifest, its config for an old client) is the same pull.
 */
class HookedRepository implements Repository {
  readonly name: RepositoryName
  readonly blobs: BlobSource
  readonly manifests: ManifestSource
  readonly tags: TagSource
  readonly referrers: ReferrersSource
  readonly #options: HookedRepositoryOptions
  readonly #trace: Trace
  #target: Promise<Target> | undefined
  #tag: Tag | undefined
  /** What is read beyond the first is read for an old client, to be told of it in other words. */
  #isManifestTold = false

  constructor(name: RepositoryName, options: HookedRepositoryOptions) {
    this.name = name
    this.#options = options
    this.#trace = options.options?.trace ?? {}
    this.blobs = {
      stat: async (digest, call) => await (await this.#enter('blob', digest)).repository.blobs.stat(digest, call),
      open: async (digest, call) => {
        const target = await this.#enter('blob', digest)
        return this.#telling(target, await target.repository.blobs.open(digest, call), digest)
      },
    }
    this.manifests = {
      stat: async (digest, call) => {
        return await (await this.#enter('manifest', digest)).repository.manifests.stat(digest, call)
      },
      get: async (digest, call) => {
        const target = await this.#enter('manifest', digest)
        const manifest = await target.repository.manifests.get(digest, call)
        if (this.#isManifestTold) return manifest
        this.#isManifestTold = true
        const reference = this.#tag ?? digest
        this.#tell(target, manifest.descriptor, { kind: 'manifest', reference, sent: manifest.bytes.byteLength })
        return manifest
      },
    }
    this.tags = {
      resolve: async (tag, call) => await this.#resolve(tag, call),
      list: (call) => this.#listTags(call),
    }
    this.referrers = { list: (subject, call) => this.#listReferrers(subject, call) }
  }

  async #resolve(tag: Tag, options: ResolveOptions | undefined): Promise<Descriptor> {
    const target = await this.#enter('manifest', tag)
    this.#tag = tag
    const freshness = await freshnessOf(target, tag)
    return await target.repository.tags.resolve(tag, freshness === undefined ? options : { ...options, freshness })
  }

  async *#listTags(options: ListOptions | undefined): AsyncGenerator<Tag, void> {
    yield* (await this.#enter('tags', undefined)).repository.tags.list(options)
  }

  async *#listReferrers(subject: Digest, options: ListOptions | undefined): AsyncGenerator<Referrer, void> {
    yield* (await this.#enter('referrers', subject)).repository.referrers.list(subject, options)
  }

  /** @throws RegistryError NAME_UNKNOWN, DENIED, UNAVAILABLE: there is no way in */
  async #enter(kind: PullRequest['kind'], reference: string | undefined): Promise<Target> {
    this.#target ??= this.#find(kind, reference)
    return await this.#target
  }

  async #find(kind: PullRequest['kind'], reference: string | undefined): Promise<Target> {
    const repository = await this.#route()
    const { upstream, user, repository: name = repository.name } = this.#trace
    const place = { repository: name, upstream, user }
    const modules = this.#options.modules.filter(({ isAsked }) => isAsked(name))
    for (const { allow } of modules) {
      const verdict = allow && (await decided(allow.call({ ...place, kind, reference })))
      if (verdict?.allow !== false) continue
      throw new RegistryError('DENIED', verdict.reason ?? 'a policy of this registry forbids it')
    }
    return { repository, place, modules }
  }

  async #route(): Promise<Repository> {
    const { registry, modules, options } = this.#options
    let name = this.name
    let namespace = options?.namespace
    for (const { route } of modules) {
      const answer = route && (await decided(route.call({ repository: name, namespace, user: this.#trace.user })))
      if (answer === 'none') throw new RegistryError('NAME_UNKNOWN', `there is no route to ${name}`)
      name = answer?.repository ?? name
      namespace = answer?.upstream ?? namespace
    }
    return registry.repository(name, { namespace, trace: this.#trace })
  }

  #telling(target: Target, open: OpenBlob, reference: Digest): OpenBlob {
    if (this.#isManifestTold || target.modules.every(({ onPull }) => onPull === undefined)) return open
    const { descriptor, range, body, location } = open
    const tell = (sent: number): void => this.#tell(target, descriptor, { kind: 'blob', reference, sent })
    if (location === undefined) return { ...open, body: new ToldStream(body, () => tell(range.end - range.start)) }
    tell(0)
    return open
  }

  #tell(
    { place, modules }: Target,
    { digest, mediaType, size }: Descriptor,
    read: Pick<Pull, 'kind' | 'reference' | 'sent'>,
  ): void {
    const pull = { ...place, ...read, digest, mediaType, size, from: this.#trace.from }
    for (const { onPull } of modules) {
      if (onPull !== undefined) setImmediate(() => void onPull.call(pull).catch(isSaid))
    }
  }
}

/** The first that has an answer counts; one that fails leaves it as it is configured. */
async function freshnessOf({ place, modules }: Target, tag: Tag): Promise<number | undefined> {
  for (const { freshness } of modules) {
    const answer = freshness && (await freshness.call({ ...place, tag }).catch(isSaid))
    if (answer !== undefined) return answer
  }
  return undefined
}

/** A hook that failed has said so in the log. */
function isSaid(error: unknown): undefined {
  if (!(error instanceof HookError)) throw error
}

/** A hook that decides and does not answer decides nothing: neither what was forbidden may pass, nor where it may go. */
async function decided<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    if (!(cause instanceof HookError)) throw cause
    throw new RegistryError('UNAVAILABLE', 'a policy of this registry does not answer', { cause })
  }
}

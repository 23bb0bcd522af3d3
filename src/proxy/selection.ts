// Which upstream a request means, and what the repository is called there and here.
import { RegistryError } from '../oci/error.ts'
import { globPattern } from '../oci/glob.ts'
import { isRepositoryName, type RepositoryName, type Tag } from '../oci/reference.ts'
import type { CallerRights } from '../registry/caller-rights.ts'
import type { UpstreamSource } from '../registry/upstream-source.ts'

/** What names of repositories an upstream claims. */
export interface Claim {
  /** What clients call it, and the first component of its repositories here; one upstream may go without. */
  readonly name: string | undefined
  /** Other names for it in `ns`. */
  readonly aliases: readonly string[]
  /** Whether names that no rule claims are asked of it. */
  readonly default: boolean
  /** Whether a name of one component means `library/<name>`, as on Docker Hub. */
  readonly library: boolean
}

/** How long an upstream's word counts. Whoever made the upstream may change it between two requests. */
export interface UpstreamPolicy {
  /** Milliseconds for which a tag is served without asking again; 0 asks every time. */
  readonly freshness: number
  /** For single tags, instead of `freshness`; the first that matches counts. */
  readonly tags: readonly TagRule[]
  /** What becomes of a tag that is here and that the upstream has no more. */
  readonly onGone: 'serve' | 'forget'
  /** What a client hears of a tag that is here and that the upstream refuses us. */
  readonly onDenied: 'serve' | 'deny'
}

/** An upstream as the proxy sees it. */
export interface Upstream extends Claim, UpstreamPolicy {
  /** For sentences: what it is called where it has no name. */
  readonly host: string
  /** Where it leaves us fewer pulls than this, tags that are here are not fetched anew. */
  readonly reserve: number
  readonly source: UpstreamSource
  /** Where its own word to each client decides who may have the copies. */
  readonly rights?: CallerRights | undefined
}

export interface TagRule {
  /** Neither global nor sticky. */
  readonly match: RegExp
  readonly freshness: number
}

/** What an upstream is called in answers, log lines and counts. */
export function titleOf({ name, host }: Pick<Upstream, 'name' | 'host'>): string {
  return name ?? host
}

/** Milliseconds for which a tag of the upstream is served without asking again. */
export function freshnessOf({ freshness, tags }: Pick<Upstream, 'freshness' | 'tags'>, tag: Tag): number {
  return tags.find(({ match }) => match.test(tag))?.freshness ?? freshness
}

export type Selection<Claimant extends Claim = Upstream> =
  | { readonly kind: 'ours'; readonly name: RepositoryName }
  | {
      readonly kind: 'upstream'
      readonly upstream: Claimant
      /** The repository's name there. */
      readonly remote: RepositoryName
      /** The repository's name in our storage. */
      readonly local: RepositoryName
    }

/** Decides by name alone: `hosted` globs, then `ns`, then the first component, then the default upstream, then ours. */
export class Selector<Claimant extends Claim = Upstream> {
  readonly #hosted: readonly RegExp[]
  readonly #byName = new Map<string, Claimant>()
  readonly #byNamespace = new Map<string, Claimant>()
  readonly #default: Claimant | undefined

  constructor(upstreams: readonly Claimant[], hosted: readonly string[]) {
    this.#hosted = hosted.map(globPattern)
    this.#default = upstreams.find((upstream) => upstream.default)
    for (const upstream of upstreams) {
      if (upstream.name !== undefined) {
        this.#byName.set(upstream.name, upstream)
        this.#byNamespace.set(upstream.name, upstream)
      }
      for (const alias of upstream.aliases) this.#byNamespace.set(alias.toLowerCase(), upstream)
    }
  }

  /**
   * `namespace` is a key into what is configured; nothing is ever dialled because a client named it (P8).
   * @throws RegistryError NAME_UNKNOWN where `namespace` is no configured one
   */
  select(name: RepositoryName, namespace: string | undefined): Selection<Claimant> {
    if (this.#hosted.some((pattern) => pattern.test(name))) return { kind: 'ours', name }
    if (namespace !== undefined) {
      const upstream = this.#byNamespace.get(namespace.toLowerCase().replace(/:443$/, ''))
      if (upstream === undefined) {
        throw new RegistryError('NAME_UNKNOWN', `no upstream is configured for ns=${namespace.slice(0, 100)}`)
      }
      return selected(upstream, withoutPrefix(upstream, name) ?? name)
    }
    const named = this.#byName.get(name.slice(0, Math.max(0, name.indexOf('/'))))
    const remote = named === undefined ? undefined : withoutPrefix(named, name)
    if (named !== undefined && remote !== undefined) return selected(named, remote)
    return this.#default === undefined ? { kind: 'ours', name } : selected(this.#default, name)
  }
}

/**
 * Tells by a repository's name in our storage whether it is a copy of an upstream's: the next pull brings it back. What a
 * glob of `hosted` fits is none, nor is what belongs to no upstream that is configured.
 */
export function copyTest(
  upstreams: readonly Pick<Claim, 'name'>[],
  hosted: readonly string[],
): (local: RepositoryName) => boolean {
  const ours = hosted.map(globPattern)
  return (local) =>
    !ours.some((pattern) => pattern.test(local)) &&
    upstreams.some(({ name }) => name === undefined || local.startsWith(`${name}/`))
}

function withoutPrefix(upstream: Claim, name: RepositoryName): RepositoryName | undefined {
  if (upstream.name === undefined || !name.startsWith(`${upstream.name}/`)) return undefined
  const rest = name.slice(upstream.name.length + 1)
  return isRepositoryName(rest) ? rest : undefined
}

function selected<Claimant extends Claim>(upstream: Claimant, asked: RepositoryName): Selection<Claimant> {
  const remote = upstream.library && !asked.includes('/') ? nameOf(`library/${asked}`) : asked
  const local = upstream.name === undefined ? remote : nameOf(`${upstream.name}/${remote}`)
  return { kind: 'upstream', upstream, remote, local }
}

function nameOf(text: string): RepositoryName {
  if (!isRepositoryName(text)) throw new RegistryError('NAME_INVALID', { name: text.slice(0, 300) })
  return text
}

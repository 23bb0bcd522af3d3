// What may go, and what goes with it: found by what was last used, and by who refers to whom.
import type { Digest } from '../oci/digest.ts'
import { isRepositoryName, parseRepositoryName, parseTag, type RepositoryName, type Tag } from '../oci/reference.ts'
import type { Pins } from './pins.ts'
import { digestIn, textIn } from './rows.ts'
import type { Statements } from './statements.ts'

export interface UnitLink {
  readonly kind: 'blobs' | 'manifests'
  readonly digest: Digest
}

/**
 * What goes together: a manifest or a blob that nothing in its repository refers to, and all that only it refers to. So
 * an index goes with its children, and a layer with the last image that has it.
 */
export interface Unit {
  readonly repository: RepositoryName
  readonly root: Digest
  /** The root first. */
  readonly targets: readonly Digest[]
  /** Manifests before what they refer to. */
  readonly links: readonly UnitLink[]
  readonly tags: readonly { readonly tag: Tag; readonly digest: Digest }[]
}

export interface UnitsOptions {
  readonly sql: Statements
  /** Whether a repository can be pulled again. */
  readonly isCopy: (repository: RepositoryName) => boolean
  readonly pins: Pins
}

export class Units {
  readonly #options: UnitsOptions
  readonly #sql: Statements

  constructor(options: UnitsOptions) {
    this.#options = options
    this.#sql = options.sql
  }

  /**
   * What has not been used for longest, if that was `before` or earlier. `again`: it turned out to have been used later
   * than it seemed, so look once more.
   */
  pick(before: number): Unit | 'again' | undefined {
    const row = this.#sql.oldest.get(before)
    if (row === undefined) return undefined
    const repository = parseRepositoryName(textIn(row['repository']))
    const root = digestIn(row['target'])
    const targets = this.#belonging(repository, root)
    const used = Math.max(...targets.map((target) => this.#lastUse(repository, target)))
    if (used > Number(row['rank'])) {
      this.#sql.rank.run(used, repository, root)
      return 'again'
    }
    const found = targets.flatMap((target) => this.#sql.linksTo.all(repository, target))
    const links = found.map(({ kind, digest }) => ({
      kind: kind === 'manifests' ? ('manifests' as const) : ('blobs' as const),
      digest: digestIn(digest),
    }))
    return {
      repository,
      root,
      targets,
      links: links.toSorted((a, b) => Number(a.kind === 'blobs') - Number(b.kind === 'blobs')),
      tags: targets.flatMap((target) =>
        this.#sql.tagsOf
          .all(repository, target)
          .map(({ tag, digest }) => ({ tag: parseTag(textIn(tag)), digest: digestIn(digest) })),
      ),
    }
  }

  /** Puts something in its place among what may go, or out of it. */
  rerank(repository: RepositoryName, target: Digest): void {
    const isHeld =
      !isRepositoryName(repository) || // older registries took more names: nobody can pull it here, or know whose it is
      !this.#options.isCopy(repository) ||
      this.#isPinned(repository, target) ||
      this.#sql.namer.get(repository, target) !== undefined
    this.#sql.rank.run(isHeld ? null : this.#lastUse(repository, target), repository, target)
  }

  #isPinned(repository: RepositoryName, target: Digest): boolean {
    const { pins } = this.#options
    if (pins.hasRepository(repository)) return true
    if (!pins.hasTagsIn(repository)) return false
    return this.#sql.tagsOf.all(repository, target).some(({ tag }) => pins.hasTag(repository, parseTag(textIn(tag))))
  }

  #lastUse(repository: RepositoryName, target: Digest): number {
    return Number(this.#sql.lastUse.get(repository, target)?.['used'] ?? 0)
  }

  namedBy(repository: RepositoryName, manifest: Digest): Digest[] {
    return this.#sql.namedBy.all(repository, manifest).map(({ target }) => digestIn(target))
  }

  /** What goes with the root: all that it refers to, and nothing that stays refers to, and so on. */
  #belonging(repository: RepositoryName, root: Digest): Digest[] {
    const going = new Set([root])
    /** What stays and refers to a child: most children of many namers are found to stay by looking at one of them. */
    const keepers = new Map<Digest, Digest>()
    for (const target of going) {
      for (const child of this.namedBy(repository, target)) {
        if (going.has(child) || this.#sql.item.get(repository, child) === undefined) continue
        const known = keepers.get(child)
        if (known !== undefined && !going.has(known)) continue
        // Where that one joins later, the child is looked at again.
        const keeper = this.#keeperOf(repository, child, going)
        if (keeper !== undefined) keepers.set(child, keeper)
        else if (!this.#isPinned(repository, child)) going.add(child)
      }
    }
    return [...going]
  }

  /** Something that refers to the child and does not go. */
  #keeperOf(repository: RepositoryName, child: Digest, going: ReadonlySet<Digest>): Digest | undefined {
    for (const { manifest } of this.#sql.namers.iterate(repository, child)) {
      const namer = digestIn(manifest)
      if (!going.has(namer)) return namer
    }
    return undefined
  }
}

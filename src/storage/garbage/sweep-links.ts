// Taking away the links of one repository that nothing needs: entries of its tags' history, then manifests, then blobs.
import type { LimitFunction } from 'p-limit'
import type { DescriptorCache } from '../../cache/descriptors.ts'
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../../drivers/driver.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { isTag, type RepositoryName, type Tag } from '../../oci/reference.ts'
import { isStorageFull } from '../../registry/storage-full.ts'
import {
  linkPath,
  linksFolder,
  linksRoot,
  tagCurrentPath,
  tagFolder,
  tagIndexPath,
  tagsFolder,
  type LinkKind,
} from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import { namesIn } from '../links.ts'
import { each } from './each.ts'
import type { RepositoryMarks } from './mark.ts'
import { SetAside } from './set-aside.ts'

/** Links that are out of their place together, for as long as it takes to look once more. */
const batchSize = 4096

/** And where there is no room for the names of so many. */
const smallBatchSize = 16

export interface SweepLinksOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly descriptors: DescriptorCache
  readonly limit: LimitFunction
  /** Links that were written at that time or later stay. */
  readonly cutoff: number
  readonly lease: SetAside
  readonly signal: AbortSignal | undefined
}

export interface SweptLinks {
  readonly manifests: number
  readonly blobs: number
  /** What was marked for removal and stays, as something new may need it, by its sha256. */
  readonly spared: readonly Digest[]
}

interface DoomedLink {
  readonly path: DriverPath
  readonly kind: LinkKind | 'history'
  readonly digest: Digest
  readonly target: Digest
}

export async function sweepLinks(marks: RepositoryMarks, options: SweepLinksOptions): Promise<SweptLinks> {
  return await new LinkSweep(marks, options).run()
}

class LinkSweep {
  readonly #marks: RepositoryMarks
  readonly #options: SweepLinksOptions
  /** Manifests that were removed. */
  readonly #gone = new Set<Digest>()

  constructor(marks: RepositoryMarks, options: SweepLinksOptions) {
    this.#marks = marks
    this.#options = options
  }

  async run(): Promise<SweptLinks> {
    const doomed = await this.#doomed()
    let size = batchSize
    let at = 0
    while (at < doomed.length) {
      this.#options.signal?.throwIfAborted()
      const batch = doomed.slice(at, at + size)
      try {
        if (!(await this.#remove(batch))) break
        at += batch.length
      } catch (error) {
        if (!isStorageFull(error)) throw error
        if (size === smallBatchSize) break // the next run has more room: blobs go meanwhile
        size = smallBatchSize
      }
    }
    const count = (kind: LinkKind): number => doomed.slice(0, at).filter((link) => link.kind === kind).length
    return {
      manifests: count('manifests'),
      blobs: count('blobs'),
      spared: doomed.slice(at).map(({ target }) => target),
    }
  }

  async #doomed(): Promise<DoomedLink[]> {
    const { name, manifests, blobs } = this.#marks
    const linksOf = (kind: LinkKind): DoomedLink[] =>
      [...this.#marks[kind]].map(([digest, { target }]) => ({
        path: linkPath(name, kind, digest),
        kind,
        digest,
        target,
      }))
    const history = manifests.size === 0 ? [] : await this.#history(name)
    return [...history, ...linksOf('manifests'), ...(blobs.size === 0 ? [] : linksOf('blobs'))]
  }

  /** What tags remember of the manifests that go. */
  async #history(name: RepositoryName): Promise<DoomedLink[]> {
    const { driver } = this.#options
    const tags = (await namesIn(driver, tagsFolder(name))).filter((tag): tag is Tag => isTag(tag))
    const found = await each(tags, this.#options.limit, async (tag) => {
      const links: DoomedLink[] = []
      for (const algorithm of await namesIn(driver, `${tagFolder(name, tag)}/index`)) {
        for (const hex of await namesIn(driver, `${tagFolder(name, tag)}/index/${algorithm}`)) {
          const digest = `${algorithm}:${hex}`
          const link = isDigest(digest) ? this.#marks.manifests.get(digest) : undefined
          if (link === undefined || !isDigest(digest)) continue
          links.push({ path: tagIndexPath(name, tag, digest), kind: 'history', digest, target: link.target })
        }
      }
      return links
    })
    return found.flat()
  }

  /** Whether they are gone; otherwise all of them are back in their places. */
  async #remove(batch: readonly DoomedLink[]): Promise<boolean> {
    const { driver, cutoff, lease } = this.#options
    await using aside = await SetAside.begin(driver, lease)
    const manifests = batch.filter(({ kind }) => kind === 'manifests').map(({ digest }) => digest)
    for (const kind of ['history', 'manifests', 'blobs'] as const) {
      const links = batch.filter((link) => link.kind === kind)
      const taken = await each(links, this.#options.limit, async ({ path }) => await aside.take(path))
      const isYoung = taken.some((stat) => stat !== undefined && stat.modified.getTime() >= cutoff)
      if (isYoung && kind !== 'history') return false // a client was told that it is here
    }
    if (await this.#hasNewManifest(new Set(manifests), aside)) return false
    if (batch.some(({ kind }) => kind !== 'blobs') && (await this.#hasNewTag(aside))) return false
    await aside.remove()
    for (const digest of manifests) this.#gone.add(digest)
    const { descriptors } = this.#options
    for (const { kind, digest } of batch) {
      if (kind !== 'history') await descriptors.clear({ repository: this.#marks.name, kind }, digest)
    }
    return true
  }

  /** Whether the repository holds a manifest that is not among those that stay; `taken` are out of their places. */
  async #hasNewManifest(taken: ReadonlySet<Digest>, aside: SetAside): Promise<boolean> {
    const { driver, files } = this.#options
    const { name, kept } = this.#marks
    for (const algorithm of await namesIn(driver, linksRoot(name, 'manifests'))) {
      const links = (await namesIn(driver, linksFolder(name, 'manifests', algorithm)))
        .map((hex) => `${algorithm}:${hex}`)
        .filter((text): text is Digest => isDigest(text) && !kept.has(text))
      const isLinked = await each(links, this.#options.limit, async (digest) => {
        await aside.keepAlive()
        const path = linkPath(name, 'manifests', digest)
        if (this.#isWaiting(digest, taken) || !(await this.#isThere(path))) return false
        const target = await files.read(path)
        return target === undefined || !kept.has(target)
      })
      if (isLinked.includes(true)) return true
    }
    return false
  }

  /** Whether a tag points at a manifest that is to go. */
  async #hasNewTag(aside: SetAside): Promise<boolean> {
    const { driver, files } = this.#options
    const { name, manifests } = this.#marks
    const tags = (await namesIn(driver, tagsFolder(name))).filter((tag): tag is Tag => isTag(tag))
    const targets = await each(tags, this.#options.limit, async (tag) => {
      await aside.keepAlive()
      return await files.read(tagCurrentPath(name, tag))
    })
    return targets.some((target) => target !== undefined && manifests.has(target))
  }

  /** Whether a manifest is to go, and its turn has not come. */
  #isWaiting(digest: Digest, taken: ReadonlySet<Digest>): boolean {
    return this.#marks.manifests.has(digest) && !taken.has(digest) && !this.#gone.has(digest)
  }

  async #isThere(path: DriverPath): Promise<boolean> {
    try {
      await this.#options.driver.stat(path)
      return true
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      throw error
    }
  }
}

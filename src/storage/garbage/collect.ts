// Collecting garbage while servers run: every repository marks what it needs and lets go of links it does not; then the
// bytes that none of them needs are removed.
import pLimit from 'p-limit'
import type { DescriptorCache } from '../../cache/descriptors.ts'
import { PathNotFoundError, type StorageDriver } from '../../drivers/driver.ts'
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { isStorageFull } from '../../registry/storage-full.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { repositoriesRoot } from '../layout.ts'
import { LinkFiles } from '../link-files.ts'
import { walkRepositoryFolders, type RepositoryFolder } from '../repository-folders.ts'
import { sweepTemporary } from '../sweep.ts'
import { DigestSet } from './digest-set.ts'
import { markRepository, type Problem } from './mark.ts'
import { recover, SetAside } from './set-aside.ts'
import { sweepAliases } from './sweep-aliases.ts'
import { sweepBlobs, type SeenBlob } from './sweep-blobs.ts'
import { sweepLinks } from './sweep-links.ts'
import { sweepReferrers, sweepReferrersOfNobody, type SweepReferrersOptions } from './sweep-referrers.ts'
import { markCollection } from './traces.ts'

/** Calls of the driver at once: servers want their share of the disk. */
const concurrency = 16

/** Temporary files that were not written to for so long belong to nobody, in milliseconds. */
const abandonedAge = 15 * 60_000

export interface GarbageOptions {
  readonly driver: StorageDriver
  /** What servers share; what is removed is forgotten there. */
  readonly descriptors: DescriptorCache
  /** Whatever was written in the last so many milliseconds stays. Less than an hour is for when no server runs. */
  readonly grace: number
  readonly dryRun: boolean
  /** Manifests go too that neither have a tag nor belong to one that has. */
  readonly deleteUntagged: boolean
  readonly onProgress?: ((report: GarbageReport) => void) | undefined
  readonly onProblem?: ((problem: Problem) => void) | undefined
  /** Takes, in a dry run, each manifest and blob that would go. */
  readonly onDoomed?: ((doomed: Doomed) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** A manifest of a repository, or a blob, that nothing needs. */
export type Doomed =
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'blob'; readonly digest: Digest; readonly size: number }

export interface GarbageReport {
  readonly phase: 'repositories' | 'blobs'
  readonly repositories: number
  /** Manifests that stay. */
  readonly manifests: number
  /** Stored blobs that are needed. */
  readonly blobs: number
  /** What was removed, or would be. */
  readonly removed: {
    readonly manifests: number
    readonly links: number
    readonly blobs: number
    readonly bytes: number
  }
  /** Whether blobs were looked at: only where it is known what is needed. */
  readonly isComplete: boolean
}

/** A reason not to begin. */
export class GarbageError extends Error {
  override readonly name = 'GarbageError'
}

/** @throws GarbageError where nothing was done; what the driver does, and then whatever was out of its place is back */
export async function collectGarbage(options: GarbageOptions): Promise<GarbageReport> {
  return await new GarbageCollection(options).run()
}

class GarbageCollection {
  readonly #options: GarbageOptions
  readonly #files: LinkFiles
  readonly #limit = pLimit(concurrency)
  readonly #live = new DigestSet()
  readonly #cutoff: number
  #report: GarbageReport = {
    phase: 'repositories',
    repositories: 0,
    manifests: 0,
    blobs: 0,
    removed: { manifests: 0, links: 0, blobs: 0, bytes: 0 },
    isComplete: true,
  }

  constructor(options: GarbageOptions) {
    this.#options = options
    this.#files = new LinkFiles({ driver: options.driver, logger: silentLogger }) // problems are reported
    this.#cutoff = Date.now() - options.grace
  }

  async run(): Promise<GarbageReport> {
    await this.#check()
    if (this.#options.dryRun) return await this.#collect(undefined)
    await using lease = await this.#begin()
    try {
      return await this.#collect(lease)
    } finally {
      await this.#end()
    }
  }

  async #collect(lease: SetAside | undefined): Promise<GarbageReport> {
    const { driver, dryRun, signal } = this.#options
    const walk = walkRepositoryFolders(driver, {
      signal,
      onFailure: (path, error) =>
        this.#problem({ repository: undefined, text: `${path}: ${String(error)}`, isBlinding: true }),
    })
    for await (const folder of walk) {
      await lease?.keepAlive()
      await this.#clean(folder, lease)
    }
    await this.#forget('referrers', undefined, sweepReferrersOfNobody)
    this.#update({ phase: 'blobs' })
    if (this.#report.isComplete) {
      await sweepBlobs({
        ...this.#shared(),
        driver,
        live: this.#live,
        dryRun,
        lease,
        onBlob: (blob) => this.#count(blob),
      })
      await this.#forget('digests of blobs', undefined, sweepAliases)
    }
    return this.#report
  }

  async #check(): Promise<void> {
    const { driver } = this.#options
    try {
      await driver.list(repositoriesRoot)
    } catch (cause) {
      if (!(cause instanceof PathNotFoundError)) throw cause
      throw new GarbageError(`there is no ${repositoriesRoot} in this storage: nothing to collect`, { cause })
    }
  }

  /**
   * Says that this run lives, then puts back what one that was killed has left. Where another may live, too, there is no
   * second one beside it: of two that begin at once, neither goes on.
   */
  async #begin(): Promise<SetAside> {
    const { driver } = this.#options
    await using opening = new AsyncDisposableStack()
    const lease = opening.use(await this.#holdLease())
    const { running } = await recover(driver, Date.now(), lease)
    if (running > 0) {
      throw new GarbageError('another collection is running, or was killed a moment ago: try again in five minutes')
    }
    await markCollection(driver)
    opening.move()
    return lease
  }

  /** What was done is done, whether or not servers learn of it soon. */
  async #end(): Promise<void> {
    try {
      await markCollection(this.#options.driver)
    } catch (error) {
      const text = `servers cannot be told that a collection has ended: ${String(error)}`
      this.#problem({ repository: undefined, text, isBlinding: false })
    }
  }

  /** On a full disk what is left of dead transfers goes first: that needs no second look, and no room. */
  async #holdLease(): Promise<SetAside> {
    const { driver } = this.#options
    try {
      return await SetAside.begin(driver)
    } catch (error) {
      if (!isStorageFull(error)) throw error
    }
    await sweepTemporary(driver, { age: abandonedAge, open: new Set(), logger: silentLogger })
    try {
      return await SetAside.begin(driver)
    } catch (cause) {
      if (!isStorageFull(cause)) throw cause
      throw new GarbageError('the disk is so full that not even an empty folder can be made: free one block', { cause })
    }
  }

  async #clean(folder: RepositoryFolder, lease: SetAside | undefined): Promise<void> {
    const { driver, deleteUntagged, signal, onDoomed } = this.#options
    try {
      const marks = await markRepository(folder, {
        driver,
        files: this.#files,
        limit: this.#limit,
        live: this.#live,
        cutoff: this.#cutoff,
        deleteUntagged,
        onProblem: (problem) => this.#problem(problem),
      })
      const swept =
        lease === undefined
          ? { manifests: marks.manifests.size, blobs: marks.blobs.size, spared: [] }
          : await sweepLinks(marks, { ...this.#shared(), driver, lease })
      if (lease === undefined) {
        for (const digest of marks.manifests.keys()) onDoomed?.({ kind: 'manifest', repository: marks.name, digest })
      }
      for (const digest of swept.spared) this.#live.add(digest)
      const { removed, repositories, manifests } = this.#report
      this.#update({
        repositories: repositories + 1,
        manifests: manifests + marks.kept.size,
        removed: {
          ...removed,
          manifests: removed.manifests + swept.manifests,
          links: removed.links + swept.blobs,
        },
      })
      const { name, named } = marks
      if (named !== undefined) {
        await this.#forget('referrers', name, async (options) => await sweepReferrers(name, named, options))
      }
    } catch (error) {
      signal?.throwIfAborted()
      this.#problem({ repository: folder.name, text: String(error), isBlinding: true })
    }
  }

  /** Nothing depends on what can be found out again: where that fails, the collection goes on. */
  async #forget(
    what: string,
    repository: RepositoryName | undefined,
    sweep: (options: SweepReferrersOptions) => Promise<void>,
  ): Promise<void> {
    const { driver, dryRun, signal } = this.#options
    if (dryRun) return
    try {
      await sweep({ ...this.#shared(), driver })
    } catch (error) {
      signal?.throwIfAborted()
      this.#problem({ repository, text: `${what} cannot be forgotten: ${String(error)}`, isBlinding: false })
    }
  }

  #shared(): Pick<Parameters<typeof sweepLinks>[1], 'files' | 'descriptors' | 'limit' | 'cutoff' | 'signal'> {
    const { descriptors, signal } = this.#options
    return { files: this.#files, descriptors, limit: this.#limit, cutoff: this.#cutoff, signal }
  }

  #count({ digest, size, fate }: SeenBlob): void {
    const { blobs, removed } = this.#report
    if (fate !== 'removed') return this.#update({ blobs: blobs + 1 })
    if (this.#options.dryRun) this.#options.onDoomed?.({ kind: 'blob', digest, size })
    this.#update({ removed: { ...removed, blobs: removed.blobs + 1, bytes: removed.bytes + size } })
  }

  #problem(problem: Problem): void {
    if (problem.isBlinding) this.#update({ isComplete: false })
    this.#options.onProblem?.(problem)
  }

  #update(change: Partial<GarbageReport>): void {
    this.#report = { ...this.#report, ...change }
    this.#options.onProgress?.(this.#report)
  }
}

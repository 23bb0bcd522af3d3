// Which manifests of a repository name which subject: our own state beside the tree, which the tree can always rebuild.
// An entry proves nothing: whoever reads it looks at the manifest, which may be gone.
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import { KeyedLock } from '../async/lock.ts'
import { recent } from '../cache/recent.ts'
import { DriverError, PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { isAbsence } from '../oci/error.ts'
import { ManifestError, parseManifest } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { ManifestSource } from '../registry/source.ts'
import type { Logger } from '../telemetry/logger.ts'
import {
  linkPath,
  linksFolder,
  readManifestsPath,
  referrerPath,
  subjectFolder,
  upstreamReferrersPath,
} from './layout.ts'
import type { LinkFiles } from './link-files.ts'
import { namesIn } from './links.ts'

/** Manifests that are read together. */
const batchSize = 32

/** A larger list of manifests that were read is not trusted to be one: they are read again. */
const maxReadList = 64 * 1024 * 1024

/** Repositories whose index is remembered to be complete. */
const rememberedRepositories = 10_000

/** Bytes of all entries that could not be written, what each costs, and milliseconds until it is tried again. */
const maxUnwritten = 16 * 1024 * 1024
const entrySize = 400
const retryTime = 60_000

/** That a manifest names another one as its subject. */
export interface ReferrerEntry {
  readonly subject: Digest
  readonly referrer: Digest
}

export interface ReferrerIndexesOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly logger: Logger
}

/** The indexes of all repositories. */
export class ReferrerIndexes {
  readonly #options: ReferrerIndexesOptions
  readonly #builds = new Coalescer<readonly ReferrerEntry[]>()
  readonly #lists = new KeyedLock()
  readonly #complete = recent<RepositoryName, true>(rememberedRepositories)
  readonly #unwritten = new LRUCache<RepositoryName, readonly ReferrerEntry[]>({
    maxSize: maxUnwritten,
    sizeCalculation: (entries) => (entries.length + 1) * entrySize,
    ttl: retryTime,
  })

  constructor(options: ReferrerIndexesOptions) {
    this.#options = options
  }

  of(name: RepositoryName): ReferrerIndex {
    const [builds, lists, complete, unwritten] = [this.#builds, this.#lists, this.#complete, this.#unwritten]
    return new ReferrerIndex({ ...this.#options, name, builds, lists, complete, unwritten })
  }
}

export interface ReferrerIndexOptions extends ReferrerIndexesOptions {
  readonly name: RepositoryName
  /** The running builds of every repository. */
  readonly builds: Coalescer<readonly ReferrerEntry[]>
  /** One at a time writes a repository's list of manifests that were read. */
  readonly lists: KeyedLock
  /** Repositories whose index this process has found complete. */
  readonly complete: LRUCache<RepositoryName, true>
  /** What is missing in indexes that cannot be written: of a full disk, or one that is only read. */
  readonly unwritten: LRUCache<RepositoryName, readonly ReferrerEntry[]>
}

export class ReferrerIndex {
  readonly #options: ReferrerIndexOptions

  constructor(options: ReferrerIndexOptions) {
    this.#options = options
  }

  async add(subject: Digest, referrer: Digest): Promise<void> {
    const { name, files } = this.#options
    await files.write(referrerPath(name, subject, referrer), referrer)
  }

  /**
   * Lets go of a manifest that is not here any more, and of what an upstream has said of it. A full disk takes no new list:
   * then its entry stays, which proves nothing.
   */
  async removed(manifest: Digest, subject: Digest | undefined): Promise<void> {
    const { name, files, logger } = this.#options
    try {
      await files.remove(upstreamReferrersPath(name, manifest))
      if (subject === undefined) return
      await this.#forget(manifest) // first: what is on the list and not in the index is never read again
      await files.remove(referrerPath(name, subject, manifest))
    } catch (error) {
      if (!(error instanceof DriverError)) throw error
      logger.warn({ repository: name, digest: manifest, error }, 'a deleted manifest is left in the index of referrers')
    }
  }

  /** In no order. */
  async list(subject: Digest): Promise<Digest[]> {
    const { name, driver } = this.#options
    const files = await namesIn(driver, subjectFolder(name, subject))
    return files.map((file) => file.replace('-', ':')).filter(isDigest)
  }

  /**
   * Sees to it that all manifests of the repository are in the index: those that another registry has put into the tree,
   * and all of them where the index was thrown away. A manifest is read once, then it is on a list; each process compares
   * the list with the tree once.
   * @returns what is missing in the index all the same, as nothing can be written
   */
  async complete(manifests: ManifestSource, signal: AbortSignal | undefined): Promise<readonly ReferrerEntry[]> {
    const { name, builds, complete, unwritten } = this.#options
    const missing = unwritten.get(name)
    if (missing !== undefined) return missing
    if (complete.has(name) && (await this.#isThere())) return []
    return await builds.run(name, async () => await this.#build(manifests), signal)
  }

  async #build(manifests: ManifestSource): Promise<readonly ReferrerEntry[]> {
    const { name, complete, unwritten, logger } = this.#options
    const linked = await this.#linked()
    const listed = await this.#readList()
    if (linked.length === 0 && listed.size === 0) return [] // whoever asks for names that are none leaves nothing behind
    const unread = linked.filter((digest) => !listed.has(digest))
    const missing: ReferrerEntry[] = []
    let failure: DriverError | undefined
    const isWritten = async (writing: Promise<void>): Promise<boolean> => {
      const error = await failureOf(writing)
      failure ??= error
      return error === undefined
    }
    const read = await filterBatches(unread, async (digest) => {
      const subject = await this.#read(manifests, digest)
      if (typeof subject === 'boolean') return subject
      if (await isWritten(this.add(subject, digest))) return true
      missing.push({ subject, referrer: digest })
      return false
    })
    await isWritten(this.#keepList(linked, read))
    if (failure === undefined) complete.set(name, true)
    else {
      logger.warn(
        { repository: name, error: failure },
        'the index of referrers cannot be written, and is kept in memory',
      )
      unwritten.set(name, missing)
    }
    return missing
  }

  /** What is gone, also since a moment ago, must be read again when it comes back: it is not on the list. */
  async #keepList(linked: readonly Digest[], read: readonly Digest[]): Promise<void> {
    const { name, driver, files, lists } = this.#options
    await lists.run(name, async () => {
      const before = await this.#readList()
      const isHere = async (digest: Digest): Promise<boolean> =>
        (await files.read(linkPath(name, 'manifests', digest))) !== undefined
      const after = [...linked.filter((digest) => before.has(digest)), ...(await filterBatches(read, isHere))]
      if (before.size > 0 && after.length === before.size && read.length === 0) return
      await driver.write(readManifestsPath(name), Buffer.from(after.join('\n')))
    })
  }

  /** Takes a manifest that is not linked any more off the list. */
  async #forget(manifest: Digest): Promise<void> {
    const { name, driver, lists } = this.#options
    await lists.run(name, async () => {
      const read = await this.#readList()
      if (!read.delete(manifest)) return
      await driver.write(readManifestsPath(name), Buffer.from([...read].join('\n')))
    })
  }

  /**
   * The subject that it names. Where there is none, whether it need not be read again: it must where it is deleted and its
   * folder is left, and where it is damaged and may be healed.
   */
  async #read(manifests: ManifestSource, digest: Digest): Promise<Digest | boolean> {
    try {
      const { bytes } = await manifests.get(digest)
      return parseManifest(bytes, mediaTypes.ociArtifactManifest).subject?.digest ?? true
    } catch (error) {
      const reason = isAbsence(error) && error instanceof Error ? (error.cause ?? error) : error
      if (reason instanceof ManifestError) return true // of a kind that has no subject
      if (isAbsence(error)) return false
      throw error
    }
  }

  async #linked(): Promise<Digest[]> {
    const { name, driver } = this.#options
    const digests: Digest[] = []
    for (const algorithm of ['sha256', 'sha512']) {
      for (const hex of await namesIn(driver, linksFolder(name, 'manifests', algorithm))) {
        const digest = `${algorithm}:${hex}`
        if (isDigest(digest)) digests.push(digest)
      }
    }
    return digests
  }

  async #readList(): Promise<Set<string>> {
    const { name, driver } = this.#options
    try {
      const bytes = await driver.read(readManifestsPath(name), maxReadList)
      return new Set(bytes.length === 0 ? [] : bytes.toString('latin1').split('\n'))
    } catch (error) {
      if (error instanceof PathNotFoundError || (error instanceof DriverError && error.code === 'EFBIG'))
        return new Set()
      throw error
    }
  }

  async #isThere(): Promise<boolean> {
    const { name, driver } = this.#options
    try {
      await driver.stat(readManifestsPath(name))
      return true
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      throw error
    }
  }
}

/** Why the disk has not taken it, if it has not. */
async function failureOf(writing: Promise<void>): Promise<DriverError | undefined> {
  try {
    await writing
    return undefined
  } catch (error) {
    if (error instanceof DriverError) return error
    throw error
  }
}

/** Those of the digests for which `test` holds. */
async function filterBatches(
  digests: readonly Digest[],
  test: (digest: Digest) => Promise<boolean>,
): Promise<Digest[]> {
  const kept: Digest[] = []
  for (let at = 0; at < digests.length; at += batchSize) {
    const batch = digests.slice(at, at + batchSize)
    const results = await Promise.all(batch.map(test))
    kept.push(...batch.filter((_, index) => results[index]))
  }
  return kept
}

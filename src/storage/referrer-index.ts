// Which manifests of a repository name which subject: our own state beside the tree, which the tree can always rebuild.
// An entry proves nothing: whoever reads it looks at the manifest, which may be gone.
import type { LRUCache } from 'lru-cache'
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
import { linkPath, linksFolder, readManifestsPath, referrerPath, subjectFolder } from './layout.ts'
import type { LinkFiles } from './link-files.ts'
import { namesIn } from './links.ts'

/** Manifests that are read together. */
const batchSize = 32

/** A larger list of manifests that were read is not trusted to be one: they are read again. */
const maxReadList = 64 * 1024 * 1024

/** Repositories whose index is remembered to be complete. */
const rememberedRepositories = 10_000

export interface ReferrerIndexesOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
}

/** The indexes of all repositories. */
export class ReferrerIndexes {
  readonly #options: ReferrerIndexesOptions
  readonly #builds = new Coalescer<void>()
  readonly #lists = new KeyedLock()
  readonly #complete = recent<RepositoryName, true>(rememberedRepositories)

  constructor(options: ReferrerIndexesOptions) {
    this.#options = options
  }

  of(name: RepositoryName): ReferrerIndex {
    const [builds, lists, complete] = [this.#builds, this.#lists, this.#complete]
    return new ReferrerIndex({ ...this.#options, name, builds, lists, complete })
  }
}

export interface ReferrerIndexOptions extends ReferrerIndexesOptions {
  readonly name: RepositoryName
  /** The running builds of every repository. */
  readonly builds: Coalescer<void>
  /** One at a time writes a repository's list of manifests that were read. */
  readonly lists: KeyedLock
  /** Repositories whose index this process has found complete. */
  readonly complete: LRUCache<RepositoryName, true>
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

  async remove(subject: Digest, referrer: Digest): Promise<void> {
    const { name, files } = this.#options
    await this.#forget(referrer) // first: what is on the list and not in the index is never read again
    await files.remove(referrerPath(name, subject, referrer))
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
   */
  async complete(manifests: ManifestSource, signal: AbortSignal | undefined): Promise<void> {
    const { name, builds, complete } = this.#options
    if (complete.has(name) && (await this.#isThere())) return
    await builds.run(name, async () => await this.#build(manifests), signal)
  }

  async #build(manifests: ManifestSource): Promise<void> {
    const { name, complete } = this.#options
    const linked = await this.#linked()
    const listed = await this.#readList()
    if (linked.length === 0 && listed.size === 0) return // whoever asks for names that are none leaves nothing behind
    const unread = linked.filter((digest) => !listed.has(digest))
    const read = await filterBatches(unread, async (digest) => await this.#read(manifests, digest))
    await this.#keepList(linked, read)
    complete.set(name, true)
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

  /** Whether it could be read: where not, it is deleted and its folder is left, or it is damaged and may be healed. */
  async #read(manifests: ManifestSource, digest: Digest): Promise<boolean> {
    try {
      const { bytes } = await manifests.get(digest)
      const { subject } = parseManifest(bytes, mediaTypes.ociArtifactManifest)
      if (subject !== undefined) await this.add(subject.digest, digest)
      return true
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

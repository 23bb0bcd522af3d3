// Which manifests of a repository name which subject: our own state beside the tree, which the tree can always rebuild.
// An entry proves nothing: whoever reads it looks at the manifest, which may be gone.
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import { DriverError, PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { isAbsence } from '../oci/error.ts'
import { ManifestError, parseManifest } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { ManifestSource } from '../registry/source.ts'
import { linksFolder, readManifestsPath, referrerPath, subjectFolder } from './layout.ts'
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
  readonly #complete = new LRUCache<RepositoryName, true>({ max: rememberedRepositories })

  constructor(options: ReferrerIndexesOptions) {
    this.#options = options
  }

  of(name: RepositoryName): ReferrerIndex {
    return new ReferrerIndex({ ...this.#options, name, builds: this.#builds, complete: this.#complete })
  }
}

export interface ReferrerIndexOptions extends ReferrerIndexesOptions {
  readonly name: RepositoryName
  /** The running builds of every repository. */
  readonly builds: Coalescer<void>
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
    const { name, driver, complete } = this.#options
    const linked = await this.#linked()
    if (linked.length === 0) return // whoever asks for names that are none leaves nothing behind
    const read = await this.#readList()
    const unread = linked.filter((digest) => !read.has(digest))
    for (let at = 0; at < unread.length; at += batchSize) {
      const batch = unread.slice(at, at + batchSize)
      await Promise.all(batch.map(async (digest) => await this.#read(manifests, digest)))
    }
    if (unread.length > 0) await driver.write(readManifestsPath(name), Buffer.from(linked.join('\n')))
    complete.set(name, true)
  }

  async #read(manifests: ManifestSource, digest: Digest): Promise<void> {
    try {
      const { bytes } = await manifests.get(digest)
      const { subject } = parseManifest(bytes, mediaTypes.ociArtifactManifest)
      if (subject !== undefined) await this.add(subject.digest, digest)
    } catch (error) {
      if (!isAbsence(error) && !(error instanceof ManifestError)) throw error // deleted meanwhile, damaged, or schema 1
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

  async #readList(): Promise<ReadonlySet<string>> {
    const { name, driver } = this.#options
    try {
      const bytes = await driver.read(readManifestsPath(name), maxReadList)
      return new Set(bytes.toString('latin1').split('\n'))
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

// Looking at a whole storage while servers run: each blob against its digest, then each repository's links, manifests and
// tags against what is stored. Nothing is changed, unless damaged blobs are to be set aside.
import pLimit from 'p-limit'
import { digestOfStream } from '../../bytes/digester.ts'
import type { DescriptorCache } from '../../cache/descriptors.ts'
import { DriverError, PathNotFoundError, type FileStat, type StorageDriver } from '../../drivers/driver.ts'
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { moveDamaged } from '../damaged.ts'
import { DigestSet } from '../garbage/digest-set.ts'
import { each } from '../garbage/each.ts'
import { blobPath, blobsRoot, repositoriesRoot } from '../layout.ts'
import { LinkFiles } from '../link-files.ts'
import { walkRepositoryFolders } from '../repository-folders.ts'
import { walkBlobs } from '../stored-blobs.ts'
import { verifyRepository } from './repository.ts'

/** Blobs that are read at once, and calls for links: servers want their share of the disk. */
const readConcurrency = 4
const linkConcurrency = 16

/** Blobs that are taken from the walk together. */
const batchSize = 256

/** A file that is replaced again and again while it is read is left to those who replace it. */
const maxAttempts = 3

export interface VerifyOptions {
  readonly driver: StorageDriver
  /** What servers share; what is set aside is forgotten there. */
  readonly descriptors: DescriptorCache
  /** Damaged blobs are moved away, so that a server fetches them anew. */
  readonly setAside: boolean
  /** Whether all that a repository's manifests name must be here: copies hold what was pulled, no more. */
  readonly isHosted: (name: RepositoryName) => boolean
  /** Whether that goes for the children of an index too. */
  readonly areChildrenNeeded: boolean
  readonly onProgress?: ((report: VerifyReport) => void) | undefined
  readonly onProblem?: ((problem: VerifyProblem) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface VerifyProblem {
  readonly repository: RepositoryName | undefined
  /** A sentence for the operator. */
  readonly text: string
}

export interface VerifyReport {
  readonly phase: 'blobs' | 'repositories'
  /** Blobs there are, counted before they are read. */
  readonly total: number
  readonly blobs: number
  readonly bytes: number
  readonly setAside: number
  readonly repositories: number
  readonly manifests: number
  readonly tags: number
  /** Manifests of copies that name something which was never pulled: that is no problem. */
  readonly partial: number
  readonly problems: number
}

/** A reason not to begin. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError'
}

/** @throws VerifyError; the reason of `signal` */
export async function verifyStorage(options: VerifyOptions): Promise<VerifyReport> {
  return await new Verification(options).run()
}

class Verification {
  readonly #options: VerifyOptions
  /** Blobs that are wrong or cannot be read. */
  readonly #bad = new DigestSet()
  #report: VerifyReport = {
    phase: 'blobs',
    total: 0,
    blobs: 0,
    bytes: 0,
    setAside: 0,
    repositories: 0,
    manifests: 0,
    tags: 0,
    partial: 0,
    problems: 0,
  }

  constructor(options: VerifyOptions) {
    this.#options = options
  }

  async run(): Promise<VerifyReport> {
    await this.#checkTree()
    await this.#readBlobs()
    this.#update({ phase: 'repositories' })
    await this.#readRepositories()
    return this.#report
  }

  async #checkTree(): Promise<void> {
    try {
      await this.#options.driver.list(blobsRoot)
    } catch (cause) {
      if (!(cause instanceof PathNotFoundError)) throw cause
      throw new VerifyError(`there is no ${blobsRoot} in this storage: nothing to verify`, { cause })
    }
  }

  async #readBlobs(): Promise<void> {
    const { driver, signal } = this.#options
    let total = 0
    for await (const _ of walkBlobs(driver, { onFailure: () => {}, signal })) total++ // told of when it is walked again
    this.#update({ total })
    const limit = pLimit(readConcurrency)
    let batch: Digest[] = []
    const flush = async (): Promise<void> => {
      await each(batch, limit, async (digest) => await this.#readBlob(digest))
      batch = []
    }
    const onFailure = (path: string, error: unknown): void => this.#problem(`${path} cannot be read: ${String(error)}`)
    for await (const digest of walkBlobs(driver, { onFailure, signal })) {
      batch.push(digest)
      if (batch.length === batchSize) await flush()
    }
    await flush()
  }

  async #readBlob(digest: Digest): Promise<void> {
    const { signal } = this.#options
    try {
      for (let attempt = 0; attempt < maxAttempts; attempt++) if (await this.#isSettled(digest)) return
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof PathNotFoundError) return // an empty folder, or swept meanwhile
      this.#bad.add(digest)
      const isOther = error instanceof DriverError && error.code === 'ENOTFILE'
      this.#problem(isOther ? `blob ${digest} is not a file` : `blob ${digest} cannot be read: ${String(error)}`)
    }
  }

  /** Whether something could be said of the file that is there. */
  async #isSettled(digest: Digest): Promise<boolean> {
    const { driver, signal, setAside, descriptors } = this.#options
    const path = blobPath(digest)
    await using file = await driver.open(path)
    async function* read(): AsyncGenerator<Uint8Array, void> {
      for await (const chunk of file) {
        signal?.throwIfAborted()
        yield chunk
      }
    }
    const found = await digestOfStream(read(), 'sha256')
    if (found !== digest) {
      if (setAside) {
        if (!(await moveDamaged(driver, digest, file.version))) return false
        await descriptors.clear('content', digest)
        this.#update({ setAside: this.#report.setAside + 1 })
      } else if ((await driver.stat(path)).version !== file.version) return false
      this.#bad.add(digest)
      this.#problem(`blob ${digest} is damaged${setAside ? ', and set aside' : ''}`)
    }
    const { blobs, bytes } = this.#report
    this.#update({ blobs: blobs + 1, bytes: bytes + file.size })
    return true
  }

  async #readRepositories(): Promise<void> {
    const { driver, signal, isHosted, areChildrenNeeded } = this.#options
    const onFailure = (path: string, error: unknown): void => {
      const isNew = this.#report.total === 0 && path === repositoriesRoot && error instanceof PathNotFoundError
      if (!isNew) this.#problem(`${path} cannot be read: ${String(error)}`)
    }
    const shared = {
      driver,
      files: new LinkFiles({ driver, logger: silentLogger }), // problems are reported
      limit: pLimit(linkConcurrency),
      isBad: (digest: Digest): boolean => this.#bad.has(digest),
      isStored: async (digest: Digest) => (await this.#stat(digest))?.kind === 'file',
      areChildrenNeeded,
    }
    for await (const folder of walkRepositoryFolders(driver, { signal, onFailure })) {
      const { name } = folder
      const onProblem = (text: string): void => this.#problem(text, name)
      const seen = await verifyRepository(folder, { ...shared, isHosted: isHosted(name), onProblem })
      const { repositories, manifests, tags, partial } = this.#report
      this.#update({
        repositories: repositories + 1,
        manifests: manifests + seen.manifests,
        tags: tags + seen.tags,
        partial: partial + seen.partial,
      })
    }
  }

  async #stat(digest: Digest): Promise<FileStat | undefined> {
    try {
      return await this.#options.driver.stat(blobPath(digest))
    } catch (error) {
      if (error instanceof PathNotFoundError || (error instanceof DriverError && error.code === 'ENOTFILE')) {
        return undefined
      }
      throw error
    }
  }

  #problem(text: string, repository?: RepositoryName): void {
    this.#update({ problems: this.#report.problems + 1 })
    this.#options.onProblem?.({ repository, text })
  }

  #update(change: Partial<VerifyReport>): void {
    this.#report = { ...this.#report, ...change }
    this.#options.onProgress?.(this.#report)
  }
}

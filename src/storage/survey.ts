// Everything that is true of a store, found by a walk over its tree.
import pLimit from 'p-limit'
import { DriverError, PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { ManifestError, maxManifestSize } from '../oci/manifest.ts'
import { isTag, type RepositoryName } from '../oci/reference.ts'
import type { Fact } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import { readDocument, type StoredDocument } from './garbage/document.ts'
import { each } from './garbage/each.ts'
import {
  blobPath,
  blobsRoot,
  linkPath,
  linksFolder,
  linksRoot,
  repositoriesRoot,
  signaturesFolder,
  tagCurrentPath,
  tagsFolder,
  type LinkKind,
} from './layout.ts'
import type { LinkFiles } from './link-files.ts'
import { namesIn } from './links.ts'
import { walkRepositoryFolders } from './repository-folders.ts'

/** Calls of the driver at once: clients want their share of the disk. */
const concurrency = 4

/** Things that are looked at together. */
const batchSize = 256

export interface SurveyOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** Blobs first, then repository by repository. @throws where anything cannot be read, or went away in a way it should not */
export async function* survey(options: SurveyOptions): AsyncGenerator<Fact, void> {
  yield* new Survey(options).run()
}

class Survey {
  readonly #options: SurveyOptions
  readonly #limit = pLimit(concurrency)
  /** Whether it was said that a manifest cannot be read. */
  #isTold = false

  constructor(options: SurveyOptions) {
    this.#options = options
  }

  async *run(): AsyncGenerator<Fact, void> {
    const { driver, signal } = this.#options
    let isEmpty = true
    for await (const fact of this.#blobs()) {
      isEmpty = false
      yield fact
    }
    const onFailure = (path: string, error: unknown): void => {
      const isNew = isEmpty && path === repositoriesRoot && error instanceof PathNotFoundError
      if (!isNew) throw error // blobs without any repository: something is not mounted, rather than all of it garbage
    }
    for await (const { name } of walkRepositoryFolders(driver, { signal, onFailure })) {
      yield* this.#manifests(name)
      yield* this.#layers(name)
      yield* this.#tags(name)
    }
  }

  async *#blobs(): AsyncGenerator<Fact, void> {
    const { driver } = this.#options
    for (const shard of await namesIn(driver, `${blobsRoot}/sha256`)) {
      const digests = (await namesIn(driver, `${blobsRoot}/sha256/${shard}`))
        .map((hex) => `sha256:${hex}`)
        .filter((text): text is Digest => isDigest(text))
      yield* this.#each(digests, async (target) => {
        const stat = await present(driver.stat(blobPath(target)))
        return stat?.kind === 'file' ? [{ kind: 'stored', target, size: stat.size, modified: stat.modified }] : []
      })
    }
  }

  async *#manifests(name: RepositoryName): AsyncGenerator<Fact, void> {
    yield* this.#links(name, 'manifests', async (digest, target) => {
      const { names = [], subject, isSchema1 } = (await this.#document(target)) ?? {}
      const signatures = isSchema1 === true ? await this.#signatures(name, digest) : []
      return [
        { kind: 'named', repository: name, target, names: [...names, ...signatures], subject },
        { kind: 'linked', repository: name, as: 'manifests', digest, target },
        // Nothing links them but the manifest that they lie beside.
        ...signatures.map((found): Fact => ({
          kind: 'linked',
          repository: name,
          as: 'blobs',
          digest: found,
          target: found,
        })),
      ]
    })
  }

  async *#layers(name: RepositoryName): AsyncGenerator<Fact, void> {
    yield* this.#links(name, 'blobs', async (digest, target) => [
      { kind: 'linked', repository: name, as: 'blobs', digest, target },
    ])
  }

  async *#tags(name: RepositoryName): AsyncGenerator<Fact, void> {
    const { driver, files } = this.#options
    yield* this.#each((await namesIn(driver, tagsFolder(name))).filter(isTag), async (tag) => {
      const digest = await files.read(tagCurrentPath(name, tag))
      return digest === undefined ? [] : [{ kind: 'tagged', repository: name, tag, digest }]
    })
  }

  async *#links(
    name: RepositoryName,
    kind: LinkKind,
    facts: (digest: Digest, target: Digest) => Promise<Fact[]>,
  ): AsyncGenerator<Fact, void> {
    const { driver, files } = this.#options
    for (const algorithm of await namesIn(driver, linksRoot(name, kind))) {
      const digests = (await namesIn(driver, linksFolder(name, kind, algorithm)))
        .map((hex) => `${algorithm}:${hex}`)
        .filter((text): text is Digest => isDigest(text))
      yield* this.#each(digests, async (digest) => {
        const path = linkPath(name, kind, digest)
        // A damaged link of a sha256 says by its name what it was meant to say.
        if (algorithm === 'sha256') return (await present(driver.stat(path))) ? await facts(digest, digest) : []
        const target = await files.read(path)
        return target === undefined ? [] : await facts(digest, target)
      })
    }
  }

  /**
   * `undefined` where the manifest cannot be understood: then its blobs are nobody's in particular. One that cannot be read
   * names nothing either, but may have signatures. What it names is linked beside it: hosted content stays for that.
   */
  async #document(target: Digest): Promise<StoredDocument | undefined> {
    try {
      const bytes = await present(this.#options.driver.read(blobPath(target), maxManifestSize))
      return bytes === undefined ? undefined : readDocument(bytes)
    } catch (error) {
      if (error instanceof ManifestError || (error instanceof DriverError && error.code === 'EFBIG')) return undefined
      if (!(error instanceof DriverError)) throw error
      if (!this.#isTold) this.#options.logger.warn({ digest: target, error }, 'manifest cannot be read')
      this.#isTold = true
      return { names: [], subject: undefined, isSchema1: true }
    }
  }

  /** Old versions of distribution kept a schema 1 manifest's signatures beside its link. */
  async #signatures(name: RepositoryName, digest: Digest): Promise<Digest[]> {
    const { driver } = this.#options
    const folder = signaturesFolder(name, digest)
    const found: Digest[] = []
    for (const algorithm of await namesIn(driver, folder)) {
      const names = (await namesIn(driver, `${folder}/${algorithm}`)).map((hex) => `${algorithm}:${hex}`)
      found.push(...names.filter((text): text is Digest => isDigest(text)))
    }
    return found
  }

  async *#each<T>(items: readonly T[], look: (item: T) => Promise<Fact[]>): AsyncGenerator<Fact, void> {
    for (let at = 0; at < items.length; at += batchSize) {
      this.#options.signal.throwIfAborted()
      for (const facts of await each(items.slice(at, at + batchSize), this.#limit, look)) yield* facts
    }
  }
}

/** `undefined` where there is nothing, or nothing of ours. */
async function present<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined
    if (error instanceof DriverError && error.code === 'ENOTFILE') return undefined
    throw error
  }
}

// The tags of a repository: a folder each.
import { PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { isTag, type RepositoryName, type Tag } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { ListOptions, ManifestSource, ResolveOptions } from '../registry/source.ts'
import type { DeleteTagOptions, TagStore } from '../registry/store.ts'
import type { UsageLog } from '../registry/usage.ts'
import { tagCurrentPath, tagFolder, tagIndexPath, tagsFolder } from './layout.ts'
import type { LinkFiles } from './link-files.ts'
import { namesIn } from './links.ts'
import { indexOf } from './listing-cache.ts'

/** Tags of a list that are looked at together. */
const batchSize = 32

export interface LinkedTagsOptions {
  readonly name: RepositoryName
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly manifests: ManifestSource
  readonly deleteEnabled: boolean
  readonly usage?: UsageLog | undefined
}

export class LinkedTags implements TagStore {
  readonly #options: LinkedTagsOptions

  constructor(options: LinkedTagsOptions) {
    this.#options = options
  }

  async find(tag: Tag, options?: CallOptions): Promise<Digest | undefined> {
    options?.signal?.throwIfAborted()
    const { name, files } = this.#options
    return await files.read(tagCurrentPath(name, tag))
  }

  async resolve(tag: Tag, options?: ResolveOptions): Promise<Descriptor> {
    options?.signal?.throwIfAborted()
    const { name, files } = this.#options
    const path = tagCurrentPath(name, tag)
    const digest = options?.isCopy === true ? await files.recent(path) : await files.read(path)
    if (digest === undefined) throw new RegistryError('MANIFEST_UNKNOWN', { tag })
    return await this.#options.manifests.stat(digest, options)
  }

  async *list(options?: ListOptions): AsyncGenerator<Tag, void> {
    const { after = '' } = options ?? {}
    const names = await this.#names()
    for (let at = indexOf(names, after); at < names.length; at += batchSize) {
      options?.signal?.throwIfAborted()
      const batch = names
        .slice(at, at + batchSize)
        .filter(isTag)
        .filter((tag) => tag !== after)
      const isThere = await Promise.all(batch.map(async (tag) => await this.#isThere(tag)))
      yield* batch.filter((_, index) => isThere[index])
    }
  }

  async *pointingAt(digest: Digest, options?: CallOptions): AsyncGenerator<Tag, void> {
    const { name, driver } = this.#options
    const tags = (await namesIn(driver, tagsFolder(name))).filter(isTag)
    for (let at = 0; at < tags.length; at += batchSize) {
      const batch = tags.slice(at, at + batchSize)
      const targets = await Promise.all(batch.map(async (tag) => await this.find(tag, options)))
      yield* batch.filter((_, index) => targets[index] === digest)
    }
  }

  async put(tag: Tag, digest: Digest, options?: CallOptions): Promise<void> {
    options?.signal?.throwIfAborted()
    const { name, files, usage } = this.#options
    await files.alone(tagFolder(name, tag), async () => {
      await files.write(tagIndexPath(name, tag, digest), digest)
      await files.write(tagCurrentPath(name, tag), digest, () =>
        usage?.note({ kind: 'tagged', repository: name, tag, digest }),
      )
    })
  }

  async delete(tag: Tag, options?: DeleteTagOptions): Promise<boolean> {
    options?.signal?.throwIfAborted()
    if (!this.#options.deleteEnabled) throw new RegistryError('UNSUPPORTED', 'deletion is disabled')
    const wasThere = await this.#remove(tag, options?.onlyIf)
    if (!wasThere && options?.onlyIf === undefined) throw new RegistryError('MANIFEST_UNKNOWN', { tag })
    return wasThere
  }

  async forget(tag: Tag, options?: CallOptions): Promise<boolean> {
    options?.signal?.throwIfAborted()
    return await this.#remove(tag)
  }

  /** Whether there was such a tag, and where it has to point at something, one that does. */
  async #remove(tag: Tag, onlyIf?: Digest): Promise<boolean> {
    const { name, files, usage } = this.#options
    return await files.alone(tagFolder(name, tag), async () => {
      if (onlyIf !== undefined && (await this.find(tag)) !== onlyIf) return false
      // First what makes it a tag: a deletion that is cut short leaves none, rather than one without its history.
      const wasThere = await files.remove(tagCurrentPath(name, tag), () =>
        usage?.note({ kind: 'untagged', repository: name, tag }),
      )
      await files.remove(tagFolder(name, tag))
      return wasThere
    })
  }

  async #names(): Promise<readonly string[]> {
    const { name, driver } = this.#options
    try {
      return await driver.list(tagsFolder(name))
    } catch (cause) {
      if (cause instanceof PathNotFoundError) throw new RegistryError('NAME_UNKNOWN', { name }, { cause })
      throw cause
    }
  }

  /** A folder without a current link is what a tagging that was cut short has left. */
  async #isThere(tag: Tag): Promise<boolean> {
    const { name, driver } = this.#options
    try {
      await driver.stat(tagCurrentPath(name, tag))
      return true
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      throw error
    }
  }
}

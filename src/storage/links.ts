// The links of one kind that a repository holds, and what is remembered of them. A link grants access: without one,
// nothing that is stored can be seen in the repository.
import type { DescriptorCache, DescriptorScope } from '../cache/descriptors.ts'
import {
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type RemoveOptions,
  type StorageDriver,
} from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, isDigest, type Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { UsageLog } from '../registry/usage.ts'
import { linkFolder, linkPath, linksFolder, signaturesFolder, type LinkKind } from './layout.ts'
import type { LinkFiles } from './link-files.ts'

export interface LinksOptions {
  readonly name: RepositoryName
  readonly kind: LinkKind
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly descriptors: DescriptorCache
  readonly usage?: UsageLog | undefined
}

export class Links {
  readonly #options: LinksOptions
  readonly #scope: DescriptorScope

  constructor(options: LinksOptions) {
    this.#options = options
    this.#scope = { repository: options.name, kind: options.kind }
  }

  /** The repository's. */
  get name(): RepositoryName {
    return this.#options.name
  }

  /** The sha256 that the link names; `undefined` where there is no link, or a damaged one. */
  async target(digest: Digest): Promise<Digest | undefined> {
    const { name, kind, files } = this.#options
    return checkedTarget(digest, await files.read(linkPath(name, kind, digest)))
  }

  /**
   * What is remembered of a linked digest whose link is there, else what `load` finds behind its link; that is remembered.
   * Another process may remove a link and know nothing of our facts.
   * @returns a descriptor that holds the link's target
   */
  async find(
    digest: Digest,
    load: (target: Digest) => Promise<Descriptor | undefined>,
  ): Promise<Descriptor | undefined> {
    const { name, kind, descriptors, files } = this.#options
    const known = await descriptors.find(this.#scope, digest)
    if (known !== undefined) {
      if (await files.has(linkPath(name, kind, digest), known.digest)) return known
      await this.forget(digest)
    }
    const target = await this.target(digest)
    const loaded = target === undefined ? undefined : await load(target)
    if (loaded === undefined) return undefined
    await descriptors.set(this.#scope, digest, loaded)
    // Whoever removes a link clears its fact afterwards. If that was before we set it, the link is gone by now.
    if ((await this.target(digest)) !== undefined) return loaded
    await this.forget(digest)
    return undefined
  }

  /**
   * As `target`; where there is a link, it is young afterwards: no collection of garbage takes it soon. It is told as a new
   * one is: a collection may have put it back where nobody knew of it.
   */
  async renew(digest: Digest): Promise<Digest | undefined> {
    const { name, kind, files, usage } = this.#options
    const found = await files.renew(linkPath(name, kind, digest), (text) => {
      const target = checkedTarget(digest, text)
      if (target !== undefined) usage?.note({ kind: 'linked', repository: name, as: kind, digest, target })
    })
    const target = checkedTarget(digest, found)
    if (target === undefined) await this.forget(digest)
    return target
  }

  /** Writes a link; what it names is stored. */
  async add(digest: Digest, target: Digest): Promise<void> {
    const { name, kind, files, usage } = this.#options
    await files.write(linkPath(name, kind, digest), target, () =>
      usage?.note({ kind: 'linked', repository: name, as: kind, digest, target }),
    )
  }

  /** Whether there was a link to remove. */
  async remove(digest: Digest): Promise<boolean> {
    const { name, kind, files, usage } = this.#options
    try {
      return await files.remove(linkPath(name, kind, digest), async () => {
        usage?.note({ kind: 'unlinked', repository: name, as: kind, digest })
        if (kind === 'manifests') await this.#clear(signaturesFolder(name, digest))
        // An empty folder for each link that ever was would fill a disk, too. Another server may link it again meanwhile.
        await this.#clear(linkFolder(name, kind, digest), { ifEmpty: true })
      })
    } finally {
      await this.forget(digest)
    }
  }

  async #clear(folder: DriverPath, options?: RemoveOptions): Promise<void> {
    try {
      await this.#options.driver.remove(folder, options)
    } catch (error) {
      const isLinkedAgain = error instanceof DriverError && error.code === 'ENOTEMPTY'
      if (!isLinkedAgain && !(error instanceof PathNotFoundError)) throw error
    }
  }

  async forget(digest: Digest): Promise<void> {
    await this.#options.descriptors.clear(this.#scope, digest)
  }

  async *list(): AsyncGenerator<Digest, void> {
    const { name, kind, driver } = this.#options
    for (const algorithm of ['sha256', 'sha512']) {
      for (const hex of await namesIn(driver, linksFolder(name, kind, algorithm))) {
        const digest = `${algorithm}:${hex}`
        if (isDigest(digest) && (await this.target(digest)) !== undefined) yield digest
      }
    }
  }
}

/** A link's target, if the link is a right one. */
export function checkedTarget(digest: Digest, target: Digest | undefined): Digest | undefined {
  if (target === undefined || algorithmOf(target) !== 'sha256') return undefined
  return algorithmOf(digest) === 'sha256' && target !== digest ? undefined : target
}

/** The names in a folder; none where there is no such folder. */
export async function namesIn(driver: StorageDriver, path: string): Promise<readonly string[]> {
  try {
    return await driver.list(path)
  } catch (error) {
    if (error instanceof PathNotFoundError) return []
    throw error
  }
}

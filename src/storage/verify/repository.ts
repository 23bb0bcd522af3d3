// One repository against what is stored: its links, its manifests and what they name, its tags.
import type { LimitFunction } from 'p-limit'
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../../drivers/driver.ts'
import { algorithmOf, digestOf, isDigest, type Digest } from '../../oci/digest.ts'
import { ManifestError, maxManifestSize, parseManifest } from '../../oci/manifest.ts'
import { isForeignLayer, mediaTypes } from '../../oci/media-type.ts'
import { isTag, type Tag } from '../../oci/reference.ts'
import { each } from '../garbage/each.ts'
import { blobPath, linkPath, linksFolder, linksRoot, tagCurrentPath, tagsFolder, type LinkKind } from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import { checkedTarget, namesIn } from '../links.ts'
import type { RepositoryFolder } from '../repository-folders.ts'

export interface VerifyRepositoryOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly limit: LimitFunction
  /** Whether a stored blob is known to be damaged. */
  readonly isBad: (target: Digest) => boolean
  readonly isStored: (target: Digest) => Promise<boolean>
  readonly isHosted: boolean
  readonly areChildrenNeeded: boolean
  readonly onProblem: (text: string) => void
}

export interface VerifiedRepository {
  readonly manifests: number
  readonly tags: number
  /** Manifests that name something which was never pulled. */
  readonly partial: number
}

/** A digest, and the sha256 under which its bytes are stored. */
type LinkTargets = Map<Digest, Digest>

export async function verifyRepository(
  folder: RepositoryFolder,
  options: VerifyRepositoryOptions,
): Promise<VerifiedRepository> {
  return await new RepositoryVerification(folder, options).run()
}

class RepositoryVerification {
  readonly #folder: RepositoryFolder
  readonly #options: VerifyRepositoryOptions
  #partial = 0

  constructor(folder: RepositoryFolder, options: VerifyRepositoryOptions) {
    this.#folder = folder
    this.#options = options
  }

  /** Tags first, then manifests, then blobs: what is pushed meanwhile was stored in the other order. */
  async run(): Promise<VerifiedRepository> {
    const { limit, onProblem } = this.#options
    const tags = await this.#tags()
    const manifests = await this.#links('manifests')
    const blobs = await this.#links('blobs')
    for (const [tag, digest] of tags) {
      if (!manifests.has(digest)) onProblem(`tag ${tag} names ${digest}, which is not here`)
    }
    await each(manifests, limit, async ([digest, target]) => {
      await this.#attempt(blobPath(target), async () => await this.#readManifest(digest, target, manifests, blobs))
    })
    return { manifests: manifests.size, tags: tags.size, partial: this.#partial }
  }

  async #tags(): Promise<Map<Tag, Digest>> {
    const { driver, files, limit, onProblem } = this.#options
    const { name } = this.#folder
    const found = new Map<Tag, Digest>()
    const names = await this.#attempt(tagsFolder(name), async () => await namesIn(driver, tagsFolder(name)))
    await each((names ?? []).filter(isTag), limit, async (tag) => {
      const path = tagCurrentPath(name, tag)
      await this.#attempt(path, async () => {
        const digest = await files.read(path)
        if (digest !== undefined) found.set(tag, digest)
        else if (await this.#isThere(path)) onProblem(`tag ${tag} is damaged`)
      })
    })
    return found
  }

  async #links(kind: LinkKind): Promise<LinkTargets> {
    const { driver, limit } = this.#options
    const { name } = this.#folder
    const found: LinkTargets = new Map()
    const root = linksRoot(name, kind)
    const algorithms = await this.#attempt(root, async () => await namesIn(driver, root))
    for (const algorithm of algorithms ?? []) {
      const folder = linksFolder(name, kind, algorithm)
      const names = await this.#attempt(folder, async () => await namesIn(driver, folder))
      const digests = (names ?? []).map((hex) => `${algorithm}:${hex}`).filter((text) => isDigest(text))
      await each(digests, limit, async (digest) => {
        const path = linkPath(name, kind, digest)
        const target = await this.#attempt(path, async () => await this.#target(path, kind, digest))
        if (target !== undefined) found.set(digest, target)
      })
    }
    return found
  }

  /** What a link names, if that is stored or known to be damaged. */
  async #target(path: DriverPath, kind: LinkKind, digest: Digest): Promise<Digest | undefined> {
    const { files, isBad, isStored, onProblem } = this.#options
    const what = kind === 'blobs' ? 'blob' : 'manifest'
    const target = checkedTarget(digest, await files.read(path))
    if (target === undefined) {
      if (await this.#isThere(path)) onProblem(`the link of ${what} ${digest} is damaged`)
      return undefined // else it was deleted, and its folder is left
    }
    if (isBad(target)) onProblem(`${what} ${digest} is damaged`)
    else if (!(await isStored(target)) && (await this.#isThere(path))) {
      onProblem(`${what} ${digest} is linked, but not stored`) // both gone: it was deleted and swept meanwhile
      return undefined
    }
    return target
  }

  async #readManifest(digest: Digest, target: Digest, manifests: LinkTargets, blobs: LinkTargets): Promise<void> {
    const { driver, isBad, isHosted, areChildrenNeeded, onProblem } = this.#options
    if (isBad(target)) return // it was told of
    const bytes = await driver.read(blobPath(target), maxManifestSize)
    if (digestOf(bytes, algorithmOf(digest)) !== digest) return onProblem(`manifest ${digest} is damaged`)
    try {
      const parsed = parseManifest(bytes, mediaTypes.ociArtifactManifest)
      const layers = parsed.blobs.filter(({ mediaType }) => !isForeignLayer(mediaType))
      const isHere = ({ digest: named }: { readonly digest: Digest }): boolean =>
        blobs.has(named) || manifests.has(named)
      const missing = [...layers, ...parsed.manifests].filter((named) => !isHere(named))
      if (missing.length > 0 && !isHosted) this.#partial++
      if (!isHosted) return
      for (const named of missing) {
        const isChild = !layers.includes(named)
        if (!isChild || areChildrenNeeded) onProblem(`manifest ${digest} names ${named.digest}, which is not here`)
      }
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error
      onProblem(`manifest ${digest} is not understood: ${error.message}`)
    }
  }

  async #isThere(path: DriverPath): Promise<boolean> {
    try {
      await this.#options.driver.stat(path)
      return true
    } catch (error) {
      if (error instanceof PathNotFoundError) return false
      return true // whatever it is, it is no link
    }
  }

  /** What cannot be read is a problem, and the rest is looked at all the same. */
  async #attempt<T>(path: DriverPath, task: () => Promise<T>): Promise<T | undefined> {
    try {
      return await task()
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) this.#options.onProblem(`${path} cannot be read: ${String(error)}`)
      return undefined
    }
  }
}

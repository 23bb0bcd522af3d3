// What one repository needs of what is stored, and what it has no use for.
import type { LimitFunction } from 'p-limit'
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../../drivers/driver.ts'
import { algorithmOf, digestOf, isDigest, type Digest } from '../../oci/digest.ts'
import { ManifestError, maxManifestSize } from '../../oci/manifest.ts'
import { isRepositoryName, isTag, type RepositoryName, type Tag } from '../../oci/reference.ts'
import {
  aliasPath,
  blobPath,
  linkFolder,
  linkPath,
  linksFolder,
  linksRoot,
  manifestsFolder,
  repositoryPath,
  signaturesFolder,
  tagCurrentPath,
  tagsFolder,
  type LinkKind,
} from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import type { RepositoryFolder } from '../repository-folders.ts'
import type { DigestSet } from './digest-set.ts'
import { readDocument, type StoredDocument } from './document.ts'
import { each } from './each.ts'
import { keepManifests, type StoredLink } from './keep.ts'

export interface MarkOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  /** Calls of the driver at once. */
  readonly limit: LimitFunction
  /** Takes the sha256 of everything that is needed. */
  readonly live: DigestSet
  /** Links that were written at that time or later stay. */
  readonly cutoff: number
  readonly deleteUntagged: boolean
  /** Takes what could not be understood or read. */
  readonly onProblem: (problem: Problem) => void
}

export interface Problem {
  readonly repository: RepositoryName | undefined
  /** A sentence for the operator. */
  readonly text: string
  /** Whether it is not known what is needed, so that no blob may be removed. */
  readonly isBlinding: boolean
}

export interface RepositoryMarks {
  readonly name: RepositoryName
  /** Manifests that stay, by their sha256. */
  readonly kept: ReadonlySet<Digest>
  /** All that they name, and they themselves; `undefined` where not all of them were understood. */
  readonly named: ReadonlySet<Digest> | undefined
  /** Manifests whose links go. */
  readonly manifests: ReadonlyMap<Digest, StoredLink>
  /** Blobs whose links go. */
  readonly blobs: ReadonlyMap<Digest, StoredLink>
}

/** Marks what a repository needs. Where anything of it cannot be understood, all that it links is needed. */
export async function markRepository(folder: RepositoryFolder, options: MarkOptions): Promise<RepositoryMarks> {
  return await new RepositoryMark(folder, options).mark()
}

class RepositoryMark {
  readonly #name: RepositoryName
  readonly #inside: readonly string[]
  readonly #options: MarkOptions
  #isUnsure: boolean

  constructor({ name, inside }: RepositoryFolder, options: MarkOptions) {
    this.#name = name
    this.#inside = inside
    this.#options = options
    this.#isUnsure = !isRepositoryName(name) // another registry serves it, by rules of its own
  }

  async mark(): Promise<RepositoryMarks> {
    const { deleteUntagged, cutoff, live } = this.#options
    const below = this.#inside.includes(manifestsFolder) ? await this.#namesIn(this.#path(manifestsFolder)) : []
    // Tags first: what is tagged meanwhile was stored before, and its link is younger than the cutoff.
    const tagged = new Set(below.includes('tags') ? await this.#tagged() : [])
    const revisions = below.includes('revisions') ? await this.#links('manifests') : new Map<Digest, StoredLink>()
    const documents = await this.#documents(revisions)
    const isRoot = (digest: Digest, link: StoredLink): boolean =>
      !deleteUntagged || this.#isUnsure || link.modified >= cutoff || tagged.has(digest)
    const kept = keepManifests(revisions, documents, isRoot)
    const named = await this.#named(kept, documents, revisions)
    for (const digest of [...kept, ...named]) if (algorithmOf(digest) === 'sha256') live.add(digest)
    const layers = this.#inside.includes('_layers') ? await this.#links('blobs', named) : new Map<Digest, StoredLink>()
    const isDoomed = ([, { target, modified }]: [Digest, StoredLink]): boolean =>
      !this.#isUnsure && modified < cutoff && !named.has(target)
    for (const entry of layers) if (!isDoomed(entry)) live.add(entry[1].target)
    if (this.#isUnsure) {
      for (const { target } of revisions.values()) live.add(target)
      for (const { names } of documents.values()) for (const digest of names) live.add(digest)
    }
    return {
      name: this.#name,
      kept,
      named: this.#isUnsure ? undefined : named,
      manifests: new Map([...revisions].filter(([, { target }]) => !this.#isUnsure && !kept.has(target))),
      blobs: new Map([...layers].filter(isDoomed)),
    }
  }

  async #tagged(): Promise<Digest[]> {
    const tags: Tag[] = (await this.#namesIn(tagsFolder(this.#name))).filter((name) => isTag(name))
    return (await each(tags, this.#options.limit, async (tag) => await this.#current(tag))).filter(
      (digest) => digest !== undefined,
    )
  }

  async #current(tag: Tag): Promise<Digest | undefined> {
    const path = tagCurrentPath(this.#name, tag)
    const digest = await this.#options.files.read(path)
    if (digest === undefined && (await this.#modified(path)) !== undefined) this.#doubt(`tag ${tag} is damaged`)
    return digest
  }

  /** Links of one kind; those of the digests in `known` are not looked at. */
  async #links(kind: LinkKind, known?: ReadonlySet<Digest>): Promise<Map<Digest, StoredLink>> {
    const links = new Map<Digest, StoredLink>()
    for (const algorithm of await this.#namesIn(linksRoot(this.#name, kind))) {
      if (algorithm !== 'sha256' && algorithm !== 'sha512') {
        this.#doubt(`${kind} are linked by ${algorithm}, which is not understood`)
        continue
      }
      const names = await this.#namesIn(linksFolder(this.#name, kind, algorithm))
      const digests = names.map((hex) => `${algorithm}:${hex}`).filter((text) => isDigest(text))
      await each(digests, this.#options.limit, async (digest) => {
        if (known?.has(digest) === true) return
        const path = linkPath(this.#name, kind, digest)
        const modified = await this.#modified(path)
        const target = algorithm === 'sha256' ? digest : await this.#options.files.read(path)
        if (modified !== undefined && target !== undefined) links.set(digest, { target, modified })
      })
    }
    return links
  }

  async #documents(revisions: ReadonlyMap<Digest, StoredLink>): Promise<Map<Digest, StoredDocument>> {
    const documents = new Map<Digest, StoredDocument>()
    const texts = new Map<Digest, Digest>() // one text for each digest, however many manifests name it
    const one = (digest: Digest): Digest => texts.get(digest) ?? (texts.set(digest, digest), digest)
    await each(new Set([...revisions.values()].map(({ target }) => target)), this.#options.limit, async (target) => {
      const document = await this.#document(target)
      if (document !== undefined) documents.set(target, { ...document, names: document.names.map(one) })
    })
    return documents
  }

  async #document(target: Digest): Promise<StoredDocument | undefined> {
    const path = blobPath(target)
    try {
      const bytes = await this.#options.driver.read(path, maxManifestSize)
      if (digestOf(bytes) === target) return readDocument(bytes)
      this.#doubt(`manifest ${target} is damaged`)
    } catch (error) {
      if (error instanceof PathNotFoundError) this.#doubt(`manifest ${target} is linked, but not stored`)
      else if (error instanceof ManifestError) this.#doubt(`manifest ${target} is not understood: ${error.message}`)
      else if (error instanceof DriverError && error.code === 'EFBIG') this.#doubt(`manifest ${target} is too large`)
      else this.#blind(path, error)
    }
    return undefined
  }

  /** All that the kept manifests name, they themselves, and the sha256 of what is named by another digest. */
  async #named(
    kept: ReadonlySet<Digest>,
    documents: ReadonlyMap<Digest, StoredDocument>,
    revisions: ReadonlyMap<Digest, StoredLink>,
  ): Promise<Set<Digest>> {
    const named = new Set<Digest>(kept)
    for (const [target, { names }] of documents) if (kept.has(target)) for (const name of names) named.add(name)
    const others = [...named].filter((digest) => algorithmOf(digest) !== 'sha256')
    await each(others, this.#options.limit, async (digest) => {
      const { files } = this.#options
      const target =
        revisions.get(digest)?.target ??
        (await files.read(linkPath(this.#name, 'blobs', digest))) ??
        (await files.read(aliasPath(digest)))
      if (target !== undefined) named.add(target)
    })
    const signed = [...revisions].filter(
      ([, { target }]) => kept.has(target) && documents.get(target)?.isSchema1 === true,
    )
    for (const [digest] of signed) await this.#addSignatures(digest, named)
    return named
  }

  /** Old versions of distribution kept a schema 1 manifest's signatures beside its link. */
  async #addSignatures(digest: Digest, named: Set<Digest>): Promise<void> {
    if (!(await this.#namesIn(linkFolder(this.#name, 'manifests', digest))).includes('signatures')) return
    const signatures = signaturesFolder(this.#name, digest)
    for (const algorithm of await this.#namesIn(signatures)) {
      for (const hex of await this.#namesIn(`${signatures}/${algorithm}`)) {
        const signature = `${algorithm}:${hex}`
        if (isDigest(signature)) named.add(signature)
      }
    }
  }

  async #modified(path: DriverPath): Promise<number | undefined> {
    try {
      return (await this.#options.driver.stat(path)).modified.getTime()
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) this.#blind(path, error)
      return undefined
    }
  }

  /** Of a folder that was there a moment ago: where it is gone, what it held may still be needed. */
  async #namesIn(path: DriverPath): Promise<readonly string[]> {
    try {
      return await this.#options.driver.list(path)
    } catch (error) {
      this.#blind(path, error)
      return []
    }
  }

  #doubt(text: string): void {
    this.#isUnsure = true
    this.#options.onProblem({ repository: this.#name, text, isBlinding: false })
  }

  #blind(path: DriverPath, error: unknown): void {
    this.#isUnsure = true
    const text = error instanceof PathNotFoundError ? `${path} went away` : `${path} cannot be read: ${String(error)}`
    this.#options.onProblem({ repository: this.#name, text, isBlinding: true })
  }

  #path(folder: string): DriverPath {
    return `${repositoryPath(this.#name)}/${folder}`
  }
}

// A registry on a storage driver: where the parts of this room meet.
import type { MemoryFiles } from '../bytes/memory-file.ts'
import type { DescriptorCache } from '../cache/descriptors.ts'
import type { DriverError, DriverPath, Redirect, StorageDriver } from '../drivers/driver.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { LocalRegistry } from '../registry/registry.ts'
import type { ListOptions } from '../registry/source.ts'
import type { RemovableRepository, WritableRepository } from '../registry/store.ts'
import type { Collections, EvictableStore, Fact, UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Content } from './content.ts'
import type { LinkKind } from './layout.ts'
import { findCollections } from './garbage/traces.ts'
import { Holders } from './holders.ts'
import { LinkFiles } from './link-files.ts'
import { LinkedBlobs } from './linked-blobs.ts'
import { HotManifests, LinkedManifests } from './linked-manifests.ts'
import { Links } from './links.ts'
import { ListingCache } from './listing-cache.ts'
import { probeStorage } from './probe.ts'
import type { ProofPolicy } from './proofs.ts'
import { ReferrerIndexes } from './referrer-index.ts'
import { StoredReferrers } from './referrers.ts'
import { walkRepositories } from './repositories.ts'
import { Scrubber, type ScrubOptions } from './scrub.ts'
import { survey } from './survey.ts'
import { sweepTemporary, type SweepOptions, type SweepReport } from './sweep.ts'
import { LinkedTags } from './tags.ts'
import { UploadRoom } from './upload.ts'
import { RepositoryUploads } from './uploads.ts'
import { checkWritable } from './writable.ts'

export interface LocalRegistryOptions {
  readonly driver: StorageDriver
  readonly descriptors: DescriptorCache
  readonly deleteEnabled: boolean
  /** `first`, unless something else is asked for. */
  readonly verify?: ProofPolicy | undefined
  /** Where clients can be sent for blobs; absent, they have them from us. */
  readonly redirect?: Redirect | undefined
  /** What is asked for again and again lies in them, where they can be had. */
  readonly memoryFiles?: MemoryFiles | undefined
  readonly logger: Logger
  /** Bytes of manifests that are kept in memory; 32 MiB. */
  readonly hotManifests?: number | undefined
  /** Who is told what is stored and linked. */
  readonly usage?: UsageLog | undefined
  /** A clock that is never set back, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined
}

/** A registry on our own storage, with what its keeper needs. */
export interface LocalStore extends LocalRegistry, EvictableStore {
  /** Removes old temporary files, of this process or of dead ones; what is open here stays. */
  sweepTemporary(options: SweepOptions): Promise<SweepReport>
  /** Begins to read all that is stored, again and again, until it is disposed. */
  scrub(options: ScrubOptions): AsyncDisposable
  /** Tries whether files can be written and moved to their places; where not, the log says why. Never fails. */
  checkWritable(): Promise<void>
  /** Whether storage works now, for what comes from clients and from upstreams. @throws what it fails with */
  probe(options: { readonly isReadOnly: boolean; readonly signal: AbortSignal }): Promise<void>
  /** How often stored bytes were found not to be those of their digest, since the start. */
  readonly damaged: number
  /** What is here, in a few words: counts no further than a thousand. @throws the signal's reason */
  summary(options?: CallOptions): Promise<string>
}

const summaryLimit = 1000

/** In so many milliseconds it is told once of each folder of so many that it may not be read: pages are asked for often. */
const silence = 60 * 60_000
const mostDenied = 20

export function openLocalRegistry(options: LocalRegistryOptions): LocalStore {
  return new StoredRegistry(options)
}

class StoredRegistry implements LocalStore {
  readonly content: Content
  readonly #options: LocalRegistryOptions
  readonly #driver: StorageDriver
  readonly #files: LinkFiles
  readonly #manifests: HotManifests
  readonly #indexes: ReferrerIndexes
  readonly #room: UploadRoom
  readonly #holders = new Holders()
  /** The folders of repositories that may not be read and have been told, and since when. */
  readonly #denied = new Set<DriverPath>()
  #deniedSince = -Infinity

  constructor(options: LocalRegistryOptions) {
    const { descriptors, logger, redirect, memoryFiles, usage, verify = 'first' } = options
    const driver = new ListingCache(options.driver)
    this.#options = options
    this.#driver = driver
    this.#files = new LinkFiles({ driver, logger, now: options.now })
    this.#indexes = new ReferrerIndexes({ driver, files: this.#files, logger })
    this.#room = new UploadRoom(driver)
    const links = this.#files
    const room = this.#room
    this.content = new Content({ driver, descriptors, logger, links, room, verify, redirect, memoryFiles, usage })
    this.#manifests = new HotManifests({
      content: this.content,
      verify,
      logger,
      maxSize: options.hotManifests ?? 32 * 1024 * 1024,
    })
  }

  repository(name: RepositoryName): WritableRepository {
    return this.#open(name, this.#options.deleteEnabled)
  }

  writable(name: RepositoryName): WritableRepository {
    return this.repository(name)
  }

  removable(name: RepositoryName): RemovableRepository {
    return this.repository(name)
  }

  discardable(name: RepositoryName): RemovableRepository {
    return this.#open(name, true)
  }

  #open(name: RepositoryName, deleteEnabled: boolean): WritableRepository {
    const { descriptors, logger, usage } = this.#options
    const driver = this.#driver
    const files = this.#files
    const content = this.content
    const linksOf = (kind: LinkKind): Links => new Links({ name, kind, driver, files, descriptors, usage })
    const blobs = new LinkedBlobs({ content, links: linksOf('blobs'), name, holders: this.#holders, deleteEnabled })
    const links = linksOf('manifests')
    const index = this.#indexes.of(name)
    const hot = this.#manifests
    const manifests = new LinkedManifests({ content, manifests: hot, links, referrers: index, deleteEnabled, usage })
    const tags = new LinkedTags({ name, driver, files, manifests, deleteEnabled, usage })
    const uploads = new RepositoryUploads({ name, driver, content, blobs, room: this.#room })
    const referrers = new StoredReferrers({ name, driver, index, manifests, tags, logger })
    return { name, blobs, manifests, tags, referrers, uploads }
  }

  place(name: RepositoryName): RepositoryName {
    return name
  }

  holderOf(digest: Digest): RepositoryName | undefined {
    return this.#holders.find(digest)
  }

  list(options?: ListOptions): AsyncGenerator<RepositoryName, void> {
    return walkRepositories(this.#driver, { ...options, onDenied: this.#noteDenied.bind(this) })
  }

  #noteDenied(path: DriverPath, error: DriverError): void {
    const now = this.#files.now()
    if (now - this.#deniedSince >= silence) {
      this.#deniedSince = now
      this.#denied.clear()
    }
    if (this.#denied.has(path) || this.#denied.size >= mostDenied) return
    this.#denied.add(path)
    this.#options.logger.warn({ path, error }, 'not all repositories are listed: this user may not read their folder')
  }

  survey({ signal }: { readonly signal: AbortSignal }): AsyncIterable<Fact> {
    return survey({ driver: this.#driver, files: this.#files, logger: this.#options.logger, signal })
  }

  async collections(): Promise<Collections> {
    return await findCollections(this.#options.driver) // other processes write there: nothing is remembered
  }

  isInUse(target: Digest): boolean {
    return this.content.isInUse(target)
  }

  async free(target: Digest, isNeeded: () => boolean): Promise<number | undefined> {
    return await this.content.free(target, isNeeded)
  }

  async sweepTemporary(options: SweepOptions): Promise<SweepReport> {
    const { driver, logger } = this.#options
    return await sweepTemporary(driver, { ...options, open: this.#room.open, logger })
  }

  scrub(options: ScrubOptions): AsyncDisposable {
    const { driver, logger } = this.#options
    return new Scrubber(options, { driver, reader: this.content.reader, logger })
  }

  async checkWritable(): Promise<void> {
    const { driver, logger } = this.#options
    await checkWritable(driver, logger)
  }

  get damaged(): number {
    return this.content.damaged
  }

  async probe(options: { readonly isReadOnly: boolean; readonly signal: AbortSignal }): Promise<void> {
    await probeStorage(this.#options.driver, this, options)
  }

  async summary(options?: CallOptions): Promise<string> {
    let count = 0
    for await (const _ of this.list(options)) {
      if (count === summaryLimit) return `${summaryLimit}+ repositories`
      count++
    }
    return count === 1 ? '1 repository' : `${count === 0 ? 'no' : count} repositories`
  }
}

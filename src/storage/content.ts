// All blobs that are stored, whoever may see them: one file per sha256.
import type { MemoryFiles } from '../bytes/memory-file.ts'
import type { DescriptorCache } from '../cache/descriptors.ts'
import { PathNotFoundError, type DriverPath, type Redirect, type StorageDriver } from '../drivers/driver.ts'
import { blobDescriptor, type Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { CallOptions } from '../registry/call.ts'
import type { ContentStore, ReceiveOptions } from '../registry/registry.ts'
import { ifReadable } from '../registry/unreadable-error.ts'
import type { OpenBlob, OpenOptions } from '../registry/source.ts'
import type { Upload } from '../registry/store.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import { BlobFiles } from './blob-files.ts'
import { BlobReader } from './blob-reader.ts'
import { InUse } from './in-use.ts'
import { aliasPath } from './layout.ts'
import { receiveFill } from './fills.ts'
import type { LinkFiles } from './link-files.ts'
import { Proofs, type ProofPolicy } from './proofs.ts'
import type { UploadRoom } from './upload.ts'

export interface ContentOptions {
  readonly driver: StorageDriver
  readonly descriptors: DescriptorCache
  readonly links: LinkFiles
  readonly logger: Logger
  readonly room: UploadRoom
  readonly verify: ProofPolicy
  readonly redirect?: Redirect | undefined
  readonly memoryFiles?: MemoryFiles | undefined
  readonly usage?: UsageLog | undefined
}

/**
 * Descriptors of this class hold the sha256 that the bytes are stored under, also where they were asked for by another
 * digest: `target` translates.
 */
export class Content implements ContentStore {
  readonly reader: BlobReader
  readonly #options: ContentOptions
  readonly #files: BlobFiles
  readonly #proofs: Proofs
  readonly #inUse = new InUse()
  #damaged = 0

  constructor(options: ContentOptions) {
    this.#options = options
    this.#files = new BlobFiles(options.driver)
    const onDamage = this.#setAside.bind(this)
    this.#proofs = new Proofs({ policy: options.verify, onDamage })
    this.reader = new BlobReader({
      driver: options.driver,
      files: this.#files,
      proofs: this.#proofs,
      isProven: options.verify !== 'never',
      now: () => options.links.now(),
      redirect: options.redirect,
      memoryFiles: options.memoryFiles,
      logger: options.logger,
      hold: this.hold.bind(this),
      onStale: this.forget.bind(this),
      onDamage,
    })
  }

  /** How often stored bytes were found not to be those of their digest, since the start. */
  get damaged(): number {
    return this.#damaged
  }

  async find(digest: Digest, options?: CallOptions): Promise<Descriptor | undefined> {
    options?.signal?.throwIfAborted()
    const target = await this.target(digest)
    const stored = target === undefined ? undefined : await this.findStored(target)
    return stored === undefined ? undefined : { ...stored, digest }
  }

  async stat(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    const found = await this.find(digest, options)
    if (found === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    return found
  }

  async open(digest: Digest, options?: OpenOptions): Promise<OpenBlob> {
    options?.signal?.throwIfAborted()
    const target = await this.target(digest)
    const stored = target === undefined ? undefined : await this.findStored(target)
    if (stored === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    const open = await this.reader.open(stored, options)
    return { ...open, descriptor: { ...open.descriptor, digest } }
  }

  async receive(options: ReceiveOptions): Promise<Upload> {
    return await receiveFill(this.#options.room, options, {
      publish: async (from, target, size) => await this.publish(from, target, size, { isOurs: true }),
      claim: this.claim.bind(this),
      reveal: this.alias.bind(this),
    })
  }

  hold(digest: Digest): Disposable {
    return this.#inUse.hold(digest)
  }

  /** As `hold`, for whoever makes a link: what is stored afterwards stays stored. */
  async claim(target: Digest): Promise<Disposable> {
    return await this.#inUse.claim(target)
  }

  isInUse(target: Digest): boolean {
    return this.#inUse.has(target)
  }

  /** As `EvictableStore.free`. */
  async free(target: Digest, isNeeded: () => boolean): Promise<number | undefined> {
    return await this.#inUse.whileUnused(target, async () => (isNeeded() ? undefined : await this.#remove(target)))
  }

  /** The sha256 that `digest` is stored under, if it is stored. */
  async target(digest: Digest): Promise<Digest | undefined> {
    return algorithmOf(digest) === 'sha256' ? digest : await this.#options.links.read(aliasPath(digest))
  }

  /** What is known of a blob, else what storage says. */
  async findStored(target: Digest): Promise<Descriptor | undefined> {
    return (await this.#options.descriptors.find('content', target)) ?? (await this.findFile(target))
  }

  /** What storage says of a blob, whatever is known of it. */
  async findFile(target: Digest): Promise<Descriptor | undefined> {
    const stat = await this.#files.stat(target)
    if (stat?.kind !== 'file') {
      if (stat !== undefined) this.#options.logger.warn({ digest: target }, 'blob is not a file')
      await this.forget(target)
      return undefined
    }
    const descriptor = blobDescriptor(target, stat.size)
    await this.#options.descriptors.set('content', target, descriptor)
    return descriptor
  }

  /** Stores bytes under their sha256. What is there already is kept if it is the same, byte for byte. */
  async put(bytes: Uint8Array): Promise<Descriptor> {
    const { descriptors, usage } = this.#options
    const target = digestOf(bytes)
    await this.#files.put(target, bytes)
    usage?.note({ kind: 'stored', target, size: bytes.byteLength })
    const descriptor = blobDescriptor(target, bytes.byteLength)
    await descriptors.set('content', target, descriptor)
    return descriptor
  }

  /**
   * Puts a file whose bytes are verified and durable into its place. A file that is there already is kept only if this
   * process has found it right. To be called again once the blob is linked: a sweep of another process takes what nothing
   * links, and looks for links a last time after it has moved a blob away.
   * @param options `isOurs`: no other process writes to the file, so that what was verified need not be proven again
   */
  async publish(path: DriverPath, target: Digest, size: number, options?: { readonly isOurs: boolean }): Promise<void> {
    const { descriptors, usage } = this.#options
    const stat = await ifReadable(this.#files.stat(target))
    if (stat?.kind !== 'file' || stat.size !== size || !this.#proofs.has(target, stat.version)) {
      if (stat !== undefined && stat.kind !== 'file') await this.#files.clear(target)
      try {
        const version = await this.#files.moveIn(path, target, size)
        if (options?.isOurs === true) this.#proofs.add(target, version)
      } catch (error) {
        // Ours was published before; another's copy has taken its place since.
        const isThere = stat?.kind === 'file' && stat.size === size
        if (!(error instanceof PathNotFoundError)) throw error
        if (!isThere) {
          await this.forget(target)
          throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 'push the blob again', { cause: error })
        }
      }
    }
    usage?.note({ kind: 'stored', target, size })
    await descriptors.set('content', target, blobDescriptor(target, size))
  }

  /** Notes that a stored blob is known by another digest too. */
  async alias(digest: Digest, target: Digest): Promise<void> {
    if (digest === target) return
    this.#inUse.alias(digest, target)
    await this.#options.links.write(aliasPath(digest), target)
  }

  async forget(target: Digest): Promise<void> {
    await this.#options.descriptors.clear('content', target)
  }

  async #remove(target: Digest): Promise<number | undefined> {
    try {
      return await this.#files.remove(target)
    } finally {
      if ((await this.#files.stat(target)) === undefined) this.#options.usage?.note({ kind: 'removed', target })
      this.reader.forget(target)
      await this.forget(target)
    }
  }

  async #setAside(digest: Digest, version: string): Promise<void> {
    const { logger, usage } = this.#options
    this.reader.forget(digest)
    this.#damaged++
    await this.forget(digest)
    try {
      if (!(await this.#files.setAside(digest, version))) return // it was replaced while we read
      usage?.note({ kind: 'removed', target: digest })
      logger.warn({ digest }, 'damaged blob set aside')
    } catch (error) {
      logger.error({ digest, error }, 'damaged blob could not be set aside')
    }
  }
}

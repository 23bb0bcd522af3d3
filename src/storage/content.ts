// All blobs that are stored, whoever may see them: one file per sha256.
import { digestOfStream } from '../bytes/digester.ts'
import { resolveRange, type ByteRange, type RangeSpec } from '../bytes/range.ts'
import { WholeStream, type ByteStream, type LentBytes } from '../bytes/stream.ts'
import type { DescriptorCache } from '../cache/descriptors.ts'
import {
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type FileRange,
  type OpenFile,
  type Redirect,
  type StorageDriver,
} from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts'
import { isAbsence, RangeNotSatisfiableError, RegistryError } from '../oci/error.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { CallOptions } from '../registry/call.ts'
import type { ContentStore, ReceiveOptions } from '../registry/registry.ts'
import { ifReadable } from '../registry/unreadable-error.ts'
import type { OpenBlob, OpenOptions } from '../registry/source.ts'
import type { Upload } from '../registry/store.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Logger } from '../telemetry/logger.ts'
import { BlobFiles } from './blob-files.ts'
import { HeldStream } from './held-stream.ts'
import { InUse } from './in-use.ts'
import { aliasPath, blobPath } from './layout.ts'
import { receiveFill } from './fills.ts'
import type { LinkFiles } from './link-files.ts'
import { Proofs, ProvenStream, type ProofPolicy, type ProofShare } from './proofs.ts'
import { RepeatedBlobs } from './repeated-blobs.ts'
import { smallBlob, SmallBlobs } from './small-blobs.ts'
import { unreadable, WatchedFile } from './unreadable.ts'
import type { UploadRoom } from './upload.ts'

export interface ContentOptions {
  readonly driver: StorageDriver
  readonly descriptors: DescriptorCache
  readonly links: LinkFiles
  readonly logger: Logger
  readonly room: UploadRoom
  readonly verify: ProofPolicy
  readonly redirect?: Redirect | undefined
  readonly usage?: UsageLog | undefined
}

export interface OpenStoredOptions extends OpenOptions {
  /** Called where the bytes turn out wrong once they are being read. */
  readonly onWrong?: (() => Promise<void>) | undefined
}

export interface CheckedBlob {
  readonly size: number
  readonly isRight: boolean
}

/**
 * Descriptors of this class hold the sha256 that the bytes are stored under, also where they were asked for by another
 * digest: `target` translates.
 */
export class Content implements ContentStore {
  readonly #options: ContentOptions
  readonly #files: BlobFiles
  readonly #proofs: Proofs
  readonly #inUse = new InUse()
  readonly #small: SmallBlobs
  readonly #repeated: RepeatedBlobs
  #damaged = 0

  constructor(options: ContentOptions) {
    this.#options = options
    this.#files = new BlobFiles(options.driver)
    this.#proofs = new Proofs({
      policy: options.verify,
      onDamage: async (digest, version) => await this.#setAside(digest, version),
    })
    const clockAndFiles = { now: (): number => options.links.now(), stat: this.#files.stat.bind(this.#files) }
    this.#repeated = new RepeatedBlobs(clockAndFiles)
    this.#small = new SmallBlobs({
      ...clockAndFiles,
      isProven: options.verify !== 'never',
      open: async (digest) => await this.#openFile(digest),
      onDamage: async (digest, version) => await this.#setAside(digest, version),
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
    const open = await this.openStored(stored, options)
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
    const descriptor = describe(target, stat.size)
    await this.#options.descriptors.set('content', target, descriptor)
    return descriptor
  }

  /**
   * Opens a blob that is believed to be stored. Its bytes come at once, the last of them when all are proven: bytes that
   * are not the blob's are set aside, so that it can be fetched anew (P6). A small blob is proven before this resolves. So
   * is one whose size in storage is not what is believed, even where nothing else is proven, and one that has failed a
   * reader before.
   * @throws RegistryError BLOB_UNKNOWN where the blob is not stored, or not right; RangeNotSatisfiableError; UnreadableError
   */
  async openStored(known: Descriptor, options?: OpenStoredOptions): Promise<OpenBlob> {
    const { digest } = known
    const bytes = known.size <= smallBlob ? await this.#small.find(known) : undefined
    if (bytes !== undefined) {
      const range =
        options?.range === undefined ? { start: 0, end: known.size } : resolveRange(options.range, known.size)
      const body = new WholeStream(bytes.subarray(range.start, range.end))
      return await this.#located({ descriptor: known, range, body }, options)
    }
    const wanted = satisfied(options?.range, known.size)
    const lent = wanted === undefined ? undefined : await this.#repeated.lend(known)
    if (wanted !== undefined && lent !== undefined) {
      return await this.#located(
        { descriptor: known, range: wanted, body: this.#lentBody(digest, lent, wanted) },
        options,
      )
    }
    let believed = known
    for (let attempt = 0; attempt < 3; attempt++) {
      const { size } = believed
      const range = satisfied(options?.range, size)
      const file = await this.#openFile(digest, range ?? { start: 0, end: 0 })
      const isTrusted = file.size === size && this.#proofs.trusts(digest, file.version)
      const held = (body: ByteStream): ByteStream => new HeldStream(body, this.hold(digest))
      if (isTrusted && range !== undefined) {
        const isRead = range.end - range.start === size && this.#redirectFor(options) === undefined
        const kept = isRead ? await this.#keep(digest, file) : undefined
        const body = kept === undefined ? held(file) : this.#lentBody(digest, kept, range)
        return await this.#located({ descriptor: believed, range, body }, options)
      }
      const proof = isTrusted ? undefined : await this.#join(file, digest)
      const isLikely = file.size === size && !this.#proofs.doubts(digest, file.version)
      if (proof !== undefined && isLikely && range !== undefined) {
        const length = range.end - range.start
        const { signal, onWrong } = options ?? {}
        const body = held(new ProvenStream(file, { digest, length, proof, signal, onWrong }))
        return { descriptor: believed, range, body }
      }
      await file[Symbol.asyncDispose]()
      if (isTrusted) throw new RangeNotSatisfiableError(size)
      if (proof === undefined) continue
      try {
        if (file.size !== size) await this.#disagree(digest, size, file.size)
        if (!(await proof.verdict(options?.signal))) throw new RegistryError('BLOB_UNKNOWN', { digest })
      } catch (error) {
        throw unreadable(digest, error)
      } finally {
        proof.leave()
      }
      if (file.size === size && range === undefined) throw new RangeNotSatisfiableError(size)
      believed = describe(digest, file.size)
    }
    throw new RegistryError('BLOB_UNKNOWN', { digest }) // it changes faster than it can be read
  }

  /** A small blob's bytes as they are stored, unproven. @throws RegistryError BLOB_UNKNOWN, UnreadableError */
  async read(target: Digest, limit: number): Promise<Buffer> {
    try {
      return await this.#options.driver.read(blobPath(target), limit)
    } catch (error) {
      throw await this.#missing(target, error)
    }
  }

  /**
   * Reads a stored blob to its end, as `read` passes its file on. What is found has the same consequences as when a client
   * reads it, but for one: that it is right is not remembered, as readers ask for other blobs than a walk meets.
   * @returns `undefined` where it is not stored @throws UnreadableError
   */
  async check(target: Digest, read: (file: OpenFile) => AsyncIterable<Uint8Array>): Promise<CheckedBlob | undefined> {
    const stat = await this.#files.stat(target)
    if (stat === undefined) return undefined
    if (stat.kind !== 'file') {
      this.#options.logger.warn({ digest: target }, 'blob is not a file')
      return { size: 0, isRight: false }
    }
    try {
      await using file = await this.#openFile(target)
      const found = await digestOfStream(read(file), 'sha256')
      return { size: file.size, isRight: await this.#proofs.judge(target, file.version, found) }
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw unreadable(target, error)
    }
  }

  /** Stores bytes under their sha256. What is there already is kept if it is the same, byte for byte. */
  async put(bytes: Uint8Array): Promise<Descriptor> {
    const { descriptors, usage } = this.#options
    const target = digestOf(bytes)
    await this.#files.put(target, bytes)
    usage?.note({ kind: 'stored', target, size: bytes.byteLength })
    const descriptor = describe(target, bytes.byteLength)
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
    await descriptors.set('content', target, describe(target, size))
  }

  /** Notes that a stored blob is known by another digest too. */
  async alias(digest: Digest, target: Digest): Promise<void> {
    if (digest !== target) await this.#options.links.write(aliasPath(digest), target)
  }

  async forget(target: Digest): Promise<void> {
    await this.#options.descriptors.clear('content', target)
  }

  /** An open blob whose file is proven, or need not be, with where else it can be had. */
  async #located(open: OpenBlob, options: OpenStoredOptions | undefined): Promise<OpenBlob> {
    const redirect = this.#redirectFor(options)
    if (redirect === undefined) return open
    try {
      return { ...open, location: await redirect(blobPath(open.descriptor.digest)) }
    } catch (error) {
      await open.body[Symbol.asyncDispose]()
      throw error
    }
  }

  #redirectFor(options: OpenStoredOptions | undefined): Redirect | undefined {
    return options?.canRedirect === true ? this.#options.redirect : undefined
  }

  /** @throws UnreadableError */
  async #keep(digest: Digest, file: OpenFile): Promise<LentBytes | undefined> {
    try {
      return await this.#repeated.keep(digest, file)
    } catch (error) {
      throw unreadable(digest, error)
    }
  }

  #lentBody(digest: Digest, lent: LentBytes, { start, end }: ByteRange): ByteStream {
    return new HeldStream(new HeldStream(new WholeStream(lent.bytes.subarray(start, end)), lent), this.hold(digest))
  }

  /** A share in the proof of an open file; `undefined` where another one has taken its place since. */
  async #join(file: OpenFile, digest: Digest): Promise<ProofShare | undefined> {
    try {
      return await this.#proofs.join(digest, file.version, async () => await this.#openFile(digest))
    } catch (error) {
      await file[Symbol.asyncDispose]()
      throw error
    }
  }

  async #openFile(digest: Digest, range?: FileRange): Promise<OpenFile> {
    try {
      const file = await this.#options.driver.open(blobPath(digest), range)
      return new WatchedFile(file, (error) => this.#doubt(digest, file.version, error))
    } catch (error) {
      throw await this.#missing(digest, error)
    }
  }

  /** What to throw where a blob's file could not be had: only where there is no such file the blob is unknown. */
  async #missing(digest: Digest, error: unknown): Promise<unknown> {
    const isGone = error instanceof PathNotFoundError
    if (!isGone && !(error instanceof DriverError && (error.code === 'ENOTFILE' || error.code === 'EFBIG'))) {
      this.#doubt(digest, '', error)
      return unreadable(digest, error)
    }
    await this.forget(digest)
    this.#options.logger.warn({ digest, error }, 'blob is not stored as it should be')
    return new RegistryError('BLOB_UNKNOWN', { digest }, { cause: error })
  }

  async #disagree(digest: Digest, known: number, stored: number): Promise<void> {
    await this.forget(digest)
    this.#options.logger.warn({ digest, known, stored }, 'blob has another size than was known')
  }

  /** Told once for each file, however many ask for it. */
  #doubt(digest: Digest, version: string, error: unknown): void {
    if (this.#proofs.doubt(digest, version)) this.#options.logger.warn({ digest, error }, 'blob cannot be read')
  }

  async #remove(target: Digest): Promise<number | undefined> {
    try {
      return await this.#files.remove(target)
    } finally {
      if ((await this.#files.stat(target)) === undefined) this.#options.usage?.note({ kind: 'removed', target })
      this.#small.forget(target)
      this.#repeated.forget(target)
      await this.forget(target)
    }
  }

  async #setAside(digest: Digest, version: string): Promise<void> {
    const { logger, usage } = this.#options
    this.#small.forget(digest)
    this.#repeated.forget(digest)
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

function describe(digest: Digest, size: number): Descriptor {
  return { mediaType: mediaTypes.octetStream, digest, size }
}

/** The bytes that are asked for; `undefined` where a content of that size has none of them. */
function satisfied(spec: RangeSpec | undefined, size: number): ByteRange | undefined {
  if (spec === undefined) return { start: 0, end: size }
  try {
    return resolveRange(spec, size)
  } catch (error) {
    if (error instanceof RangeNotSatisfiableError) return undefined
    throw error
  }
}

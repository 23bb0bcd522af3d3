// How stored blobs are read: out of memory, or from their files, which are proven or are being proven.
import { digestOfStream } from '../bytes/digester.ts'
import type { MemoryFiles } from '../bytes/memory-file.ts'
import { resolveRange, type ByteRange, type RangeSpec } from '../bytes/range.ts'
import { WholeStream, type ByteStream } from '../bytes/stream.ts'
import {
  DriverError,
  PathNotFoundError,
  type FileRange,
  type OpenFile,
  type Redirect,
  type StorageDriver,
} from '../drivers/driver.ts'
import { blobDescriptor, type Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isAbsence, RangeNotSatisfiableError, RegistryError } from '../oci/error.ts'
import type { OpenBlob, OpenOptions } from '../registry/source.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { BlobFiles } from './blob-files.ts'
import { HeldStream } from './held-stream.ts'
import { blobPath } from './layout.ts'
import { ProvenStream, type Proofs, type ProofShare } from './proofs.ts'
import { RepeatedBlobs, type LentBlob } from './repeated-blobs.ts'
import { smallBlob, SmallBlobs } from './small-blobs.ts'
import { unreadable, WatchedFile } from './unreadable.ts'

export interface BlobReaderOptions {
  readonly driver: StorageDriver
  readonly files: BlobFiles
  readonly proofs: Proofs
  /** Whether small bytes are proven before they are given out. */
  readonly isProven: boolean
  /** A clock that is never set back, in milliseconds. */
  readonly now: () => number
  readonly redirect?: Redirect | undefined
  readonly memoryFiles?: MemoryFiles | undefined
  readonly logger: Logger
  /** Sees to it that a blob's file stays. */
  readonly hold: (digest: Digest) => Disposable
  /** What is known of a blob is not so. */
  readonly onStale: (digest: Digest) => Promise<void>
  /** Bytes of a file were found wrong. */
  readonly onDamage: (digest: Digest, version: string) => Promise<void>
}

export interface OpenStoredOptions extends OpenOptions {
  /** Called where the bytes turn out wrong once they are being read. */
  readonly onWrong?: (() => Promise<void>) | undefined
}

export interface CheckedBlob {
  readonly size: number
  readonly isRight: boolean
}

export class BlobReader {
  readonly #options: BlobReaderOptions
  readonly #small: SmallBlobs
  readonly #repeated: RepeatedBlobs

  constructor(options: BlobReaderOptions) {
    const { files, now, isProven, memoryFiles, onDamage } = options
    this.#options = options
    const stat = files.stat.bind(files)
    this.#repeated = new RepeatedBlobs({ now, stat }, memoryFiles)
    this.#small = new SmallBlobs({
      now,
      stat,
      isProven,
      open: async (digest) => await this.#openFile(digest),
      onDamage,
    })
  }

  /**
   * Opens a blob that is believed to be stored. Its bytes come at once, the last of them when all are proven: bytes that
   * are not the blob's are set aside, so that it can be fetched anew (P6). A small blob is proven before this resolves. So
   * is one whose size in storage is not what is believed, even where nothing else is proven, and one that has failed a
   * reader before.
   * @throws RegistryError BLOB_UNKNOWN where the blob is not stored, or not right; RangeNotSatisfiableError; UnreadableError
   */
  async open(known: Descriptor, options?: OpenStoredOptions): Promise<OpenBlob> {
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
      const isTrusted = file.size === size && this.#options.proofs.trusts(digest, file.version)
      const held = (body: ByteStream): ByteStream => new HeldStream(body, this.#options.hold(digest))
      if (isTrusted && range !== undefined) {
        const isRead = range.end - range.start === size && this.#redirectFor(options) === undefined
        const kept = isRead ? await this.#keep(digest, file) : undefined
        const body = kept === undefined ? held(file) : this.#lentBody(digest, kept, range)
        return await this.#located({ descriptor: believed, range, body }, options)
      }
      const proof = isTrusted ? undefined : await this.#join(file, digest)
      const isLikely = file.size === size && !this.#options.proofs.doubts(digest, file.version)
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
      believed = blobDescriptor(digest, file.size)
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
    const stat = await this.#options.files.stat(target)
    if (stat === undefined) return undefined
    if (stat.kind !== 'file') {
      this.#options.logger.warn({ digest: target }, 'blob is not a file')
      return { size: 0, isRight: false }
    }
    try {
      await using file = await this.#openFile(target)
      const found = await digestOfStream(read(file), 'sha256')
      return { size: file.size, isRight: await this.#options.proofs.judge(target, file.version, found) }
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw unreadable(target, error)
    }
  }

  /** Lets go of what is in memory of a blob. */
  forget(digest: Digest): void {
    this.#small.forget(digest)
    this.#repeated.forget(digest)
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
  async #keep(digest: Digest, file: OpenFile): Promise<LentBlob | undefined> {
    try {
      return await this.#repeated.keep(digest, file)
    } catch (error) {
      throw unreadable(digest, error)
    }
  }

  #lentBody(digest: Digest, lent: LentBlob, range: ByteRange): ByteStream {
    const holds = new DisposableStack()
    holds.use(lent)
    holds.use(this.#options.hold(digest))
    return new HeldStream(lent.read(range), holds, () => {
      const more = lent.again()
      return more === undefined ? undefined : this.#lentBody(digest, more, range)
    })
  }

  /** A share in the proof of an open file; `undefined` where another one has taken its place since. */
  async #join(file: OpenFile, digest: Digest): Promise<ProofShare | undefined> {
    try {
      return await this.#options.proofs.join(digest, file.version, async () => await this.#openFile(digest))
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
    await this.#options.onStale(digest)
    this.#options.logger.warn({ digest, error }, 'blob is not stored as it should be')
    return new RegistryError('BLOB_UNKNOWN', { digest }, { cause: error })
  }

  async #disagree(digest: Digest, known: number, stored: number): Promise<void> {
    await this.#options.onStale(digest)
    this.#options.logger.warn({ digest, known, stored }, 'blob has another size than was known')
  }

  /** Told once for each file, however many ask for it. */
  #doubt(digest: Digest, version: string, error: unknown): void {
    if (this.#options.proofs.doubt(digest, version)) this.#options.logger.warn({ digest, error }, 'blob cannot be read')
  }
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

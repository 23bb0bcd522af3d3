// A fill: one running copy of a blob from an upstream into local storage, owned by nobody's request. Readers follow the
// bytes as they come; the last byte of every answer is held back until the digest matches (P1). Where storage fails, the
// bytes are passed through to the readers there are, as fast as the slowest of them takes them.
import { deferred } from '../async/deferred.ts'
import { News } from '../async/news.ts'
import { waitFor } from '../async/wait.ts'
import { resolveRange, type ByteRange } from '../bytes/range.ts'
import { collect, type ByteStream } from '../bytes/stream.ts'
import { blobDescriptor, type Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { OpenBlob, OpenOptions } from '../registry/source.ts'
import type { BlobStore } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { openBehind } from './opening.ts'
import { RecentBytes } from './recent-bytes.ts'
import { Spool } from './spool.ts'
import type { StorageTrouble } from './storage-trouble.ts'
import { openTransfer, type Places, type Transfer, type TransferSettings } from './transfer.ts'

/** Blobs up to this size are answered when they are whole: a failure is then an honest status, not a cut connection. */
const smallBlob: number = 64 * 1024

/** Bytes at the head of a fill that are kept in memory, so that readers who keep up need no file. */
const recentBytes: number = 2 * 1024 * 1024

/** Bytes that a fill is ahead of its slowest reader at most, where there is no file for that reader. */
const throughBytes: number = 4 * 1024 * 1024

/** Fewer bytes are not worth keeping for a next try. */
const worthKeeping: number = 1024 * 1024

export interface FillOptions {
  readonly digest: Digest
  readonly from: UpstreamBlobs
  /** The upstream's host, for sentences. */
  readonly host: string
  readonly content: ContentStore
  readonly settings: TransferSettings
  readonly parallel: Places
  readonly trouble: StorageTrouble
  /** How often the blob came wrong lately. */
  readonly attempt: number
  /** Ends the fill, at shutdown. */
  readonly signal: AbortSignal
  /** Called when a transfer that broke is about to be asked for again. */
  readonly onResume: () => void
  /** Called when the fill takes no more readers: from then on the blob is in its place, or is not. */
  readonly onEnd: () => void
  readonly logger: Logger
}

/** The bytes that came are not the blob's. */
export class WrongBytesError extends UpstreamError {}

interface Reader {
  /** The byte that it wants next; all before it may be forgotten as far as it is concerned. */
  at: number
  /** It took nothing for so long that the others no longer wait for it. */
  isCut: boolean
}

export class Fill {
  readonly digest: Digest
  readonly #options: FillOptions
  readonly #linkTo = new Map<string, BlobStore>()
  readonly #readers = new Set<Reader>()
  readonly #started = deferred()
  readonly #verified = deferred()
  readonly #stored = deferred()
  #spool: Spool | undefined
  #recent = new RecentBytes(recentBytes)
  /** Told when bytes have come, a reader has got on or left, somebody's signal has fired, or the fill has ended. */
  readonly #news = new News()
  #size: number | undefined
  #received = 0
  #isVerified = false
  #failure: { readonly error: unknown } | undefined

  constructor(options: FillOptions) {
    this.#options = options
    this.digest = options.digest
  }

  /**
   * Settles when the blob is stored and linked, or has been passed through to its readers (`undefined`), or when the fill
   * has failed; no file of it is open then.
   */
  async run(): Promise<Descriptor | undefined> {
    const { digest, content, signal, trouble } = this.#options
    const onAbort = (): void => this.#news.tell()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await using spool = await Spool.open({
        digest,
        content,
        signal,
        onFailure: (error) => {
          trouble.failed(error, { digest })
          this.#news.tell() // readers may have to do without the file from now on
        },
      })
      this.#spool = spool
      await using transfer = await this.#begin(spool)
      try {
        return await this.#copy(transfer, spool)
      } catch (error) {
        this.#fail(error)
        const isUnfinished = error instanceof UpstreamError ? !(error instanceof WrongBytesError) : signal.aborted
        if (isUnfinished && spool.isStoring && spool.size >= worthKeeping) await spool.keep()
        throw error
      }
    } catch (error) {
      this.#fail(error)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** How many follow it now. */
  get readers(): number {
    return this.#readers.size
  }

  /** Whether the blob will be visible in that repository. */
  isFor(repository: string): boolean {
    return this.#linkTo.has(repository)
  }

  /** Makes the blob visible in one more repository, which has the right to it. */
  addRepository(repository: string, blobs: BlobStore): void {
    this.#linkTo.set(repository, blobs)
  }

  /**
   * Follows the fill from any offset. Resolves when the upstream has said how large the blob is.
   * @throws what the fill failed with; RangeNotSatisfiableError
   */
  async follow(options?: OpenOptions): Promise<OpenBlob> {
    const signal = options?.signal
    const reader: Reader = { at: 0, isCut: false }
    this.#readers.add(reader)
    try {
      await waitFor(this.#started.promise, signal)
      if (this.#size === undefined || this.#size <= smallBlob) await waitFor(this.#verified.promise, signal)
      const size = this.#size ?? this.#received
      const range = options?.range === undefined ? { start: 0, end: size } : resolveRange(options.range, size)
      reader.at = range.start
      const descriptor = blobDescriptor(this.digest, size)
      return { descriptor, range, body: this.#bodyFor(reader, range, signal) }
    } catch (error) {
      this.#leave(reader)
      throw error
    }
  }

  async #begin(spool: Spool): Promise<Transfer> {
    const { logger, signal } = this.#options
    const { transfer, start } = await openBehind(spool, {
      open: async (from) => await this.#open(from),
      onUnreadable: (error) => logger.warn({ digest: this.digest, error }, 'what was kept of a blob cannot be read'),
      signal,
    })
    this.#size = transfer.size
    this.#received = start
    this.#recent = new RecentBytes(Math.min(recentBytes, transfer.size ?? recentBytes), start)
    this.#started.resolve()
    return transfer
  }

  async #open(start: number): Promise<Transfer> {
    const { digest, from, attempt, settings, parallel, onResume, logger, signal } = this.#options
    return await openTransfer({ digest, from, start, attempt, settings, parallel, onResume, logger, signal })
  }

  async #copy(transfer: Transfer, spool: Spool): Promise<Descriptor | undefined> {
    const { host, trouble } = this.#options
    await spool.append(this.#watch(transfer.body, spool))
    if (this.#size !== undefined && this.#received !== this.#size) {
      throw new UpstreamError('invalid', host, `${host} sent ${this.#received} of ${this.#size} bytes`)
    }
    if (!spool.isRight()) {
      throw new WrongBytesError('invalid', host, `${host} sent bytes that do not match ${this.digest}`)
    }
    this.#size = this.#received
    this.#isVerified = true
    this.#verified.resolve()
    this.#news.tell()
    using _ = this.#options.content.hold(this.digest) // until it is linked
    const descriptor = await spool.commit()
    if (descriptor === undefined) return await this.#passOn(spool)
    trouble.works()
    await this.#link()
    this.#stored.resolve()
    this.#recent.clear() // readers who are behind go on from the store
    return descriptor
  }

  /** Passes the bytes on to storage, and lets readers have them. */
  async *#watch(body: AsyncIterable<Uint8Array>, spool: Spool): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of body) {
      if (!spool.isStoring) await this.#waitForReaders(spool)
      this.#recent.push(chunk, spool.isStoring ? Infinity : this.#slowest())
      this.#closeWhereGone(spool)
      this.#received = this.#recent.end
      this.#news.tellSoon() // they take in one go what comes in one go
      yield chunk
    }
  }

  /**
   * Storage has failed: the readers are all that the bytes are still for. One that takes nothing for too long is cut.
   * @throws what storage failed with, where there is no reader, or none that could begin
   */
  async #waitForReaders(spool: Spool): Promise<void> {
    const timer = setTimeout(() => this.#cutSlowest(), this.#options.settings.patience)
    try {
      for (;;) {
        this.#options.signal.throwIfAborted()
        const slowest = this.#slowest()
        if (this.#readers.size === 0) throw spool.failure
        if (this.#size === undefined && this.#received >= throughBytes) throw spool.failure
        if (slowest >= this.#recent.start && spool.size > 0) {
          if (this.#recent.start > 0) this.#options.onEnd()
          await spool.discard() // its room is wanted
        }
        if (this.#received - slowest < throughBytes) return
        await this.#news.next()
      }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Nobody may join who would want bytes that are neither in memory nor in a file. */
  #closeWhereGone(spool: Spool): void {
    if (!spool.isStoring && spool.size === 0 && this.#recent.start > 0) this.#options.onEnd()
  }

  #cutSlowest(): void {
    const slowest = this.#slowest()
    for (const reader of this.#readers) {
      if (reader.at !== slowest) continue
      reader.isCut = true
      this.#readers.delete(reader)
    }
    this.#news.tell()
  }

  /** The blob is right and cannot be stored: the readers there are get the rest of it. */
  async #passOn(spool: Spool): Promise<undefined> {
    this.#options.onEnd()
    this.#stored.reject(spool.failure)
    while (this.#readers.size > 0) {
      this.#options.signal.throwIfAborted()
      await this.#news.next()
    }
  }

  /** A repository that cannot be linked hurts no other; it finds the blob stored when it is next asked for it. */
  async #link(): Promise<void> {
    for (const [repository, blobs] of this.#linkTo) {
      try {
        await blobs.link(this.digest)
      } catch (error) {
        this.#options.trouble.failed(error, { repository, digest: this.digest })
      }
    }
    this.#options.onEnd() // at once: whoever joined until now is linked
  }

  #slowest(): number {
    let slowest = this.#received
    for (const { at } of this.#readers) slowest = Math.min(slowest, at)
    return slowest
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#options.onEnd()
    for (const waiting of [this.#started, this.#verified, this.#stored]) waiting.reject(error)
    this.#news.tell()
  }

  #leave(reader: Reader): void {
    if (this.#readers.delete(reader)) this.#news.tell()
  }

  #bodyFor(reader: Reader, range: ByteRange, signal: AbortSignal | undefined): ByteStream {
    const chunks = this.#read(reader, range, signal)
    return {
      [Symbol.asyncIterator]: () => chunks,
      [Symbol.asyncDispose]: async () => {
        this.#leave(reader) // a generator that has not begun knows no end
        await chunks.return()
      },
    }
  }

  async *#read(reader: Reader, range: ByteRange, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void> {
    using _ = this.#options.content.hold(this.digest) // what has left memory is read from there
    const onAbort = (): void => this.#news.tell()
    signal?.addEventListener('abort', onAbort, { once: true }) // one for all its waits: there may be thousands
    try {
      while (reader.at < range.end) {
        this.#check(signal)
        if (reader.isCut) throw new Error('the reader took nothing for too long')
        const end = Math.min(this.#received, this.#isVerified ? range.end : range.end - 1)
        using recent = reader.at < end ? this.#recent.lend(reader.at) : undefined
        if (reader.at >= end) {
          // A fill that waits for its readers is not to wait for one that waits for its end.
          const isLast = this.#spool?.isStoring === false && end === range.end - 1 && this.#received > end
          const last = isLast && !this.#isVerified ? await this.#readOne(reader.at) : undefined
          if (last === undefined) {
            await this.#news.next()
            continue
          }
          reader.at = Infinity
          this.#news.tell()
          while (!this.#isVerified) {
            this.#check(signal)
            await this.#news.next()
          }
          yield last
        } else if (recent !== undefined) {
          const chunk = recent.bytes.subarray(0, end - reader.at)
          yield chunk
          this.#advance(reader, chunk)
        } else {
          for await (const chunk of await this.#reopen({ start: reader.at, end }, range.end, signal)) {
            yield chunk
            this.#advance(reader, chunk)
            this.#check(signal)
          }
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#leave(reader)
    }
  }

  /** A byte that is in memory or in the file, to be kept. */
  async #readOne(at: number): Promise<Uint8Array> {
    using recent = this.#recent.lend(at)
    if (recent !== undefined) return Buffer.from(recent.bytes.subarray(0, 1))
    return await collect(await this.#reopen({ start: at, end: at + 1 }, at + 1, undefined), 1)
  }

  #advance(reader: Reader, chunk: Uint8Array): void {
    reader.at += chunk.byteLength
    if (this.#spool?.isStoring === false) this.#news.tell() // the fill waits for its readers
  }

  /** @throws what the fill failed with, or why the reader is to stop */
  #check(signal: AbortSignal | undefined): void {
    if (this.#failure !== undefined) throw this.#failure.error
    signal?.throwIfAborted()
  }

  /** Reads what has left memory: from the spool while the fill runs, from the store once it is there. */
  async #reopen(here: ByteRange, last: number, signal: AbortSignal | undefined): Promise<ByteStream> {
    const spool = this.#spool
    if (spool !== undefined && spool.size > here.start) {
      try {
        return await spool.open({ start: here.start, end: Math.min(here.end, spool.size) })
      } catch (error) {
        if (!this.#isVerified) throw error // it is, when the spool was moved to its place between the two lines
      }
    }
    if (spool?.isStoring === false && !this.#isVerified) throw spool.failure
    await waitFor(this.#stored.promise, signal)
    const { body } = await this.#options.content.open(this.digest, { range: { start: here.start, end: last } })
    return body
  }
}

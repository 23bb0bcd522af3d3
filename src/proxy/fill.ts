// A fill: one running copy of a blob from an upstream into local storage, owned by nobody's request. Readers follow the
// bytes as they come; the last byte of every answer is held back until the digest matches (P1). Where storage fails, the
// bytes are passed through to the readers there are, as fast as the slowest of them takes them.
import { deferred } from '../async/deferred.ts'
import { News } from '../async/news.ts'
import { waitFor } from '../async/wait.ts'
import { resolveRange } from '../bytes/range.ts'
import { blobDescriptor, type Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { OpenBlob, OpenOptions } from '../registry/source.ts'
import type { BlobStore } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { FillReader, tellAll, type Progress, type Reader } from './fill-reader.ts'
import { openBehind, saysNothingOfRanges } from './opening.ts'
import { RecentBytes } from './recent-bytes.ts'
import { Spool } from './spool.ts'
import type { StorageTrouble } from './storage-trouble.ts'
import { openTransfer, type Places, type Transfer, type TransferSettings } from './transfer.ts'

/** Blobs up to this size are answered when they are whole: a failure is then an honest status, not a cut connection. */
const smallBlob: number = 64 * 1024

/** Bytes at the head of a fill that are kept in memory, so that readers who keep up need no file. */
const recentBytes: number = 2 * 1024 * 1024

/** Bytes in the file that its readers hear of at once; of fewer they hear in so many milliseconds. */
const worthSending = { bytes: 1024 * 1024, patience: 5 }

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
  /** Whether what earlier fills have left is not to be believed. */
  readonly isFresh: boolean
  /** Ends the fill, at shutdown. */
  readonly signal: AbortSignal
  /** Called when a transfer that broke is about to be asked for again. */
  readonly onResume: () => void
  /** Called when the bytes that came turn out not to be the blob's, before anybody hears of it. */
  readonly onWrong: () => void
  /** Called when the fill takes no more readers: from then on the blob is in its place, or is not. */
  readonly onEnd: () => void
  /** Says in each line which blob it is, and for which repository. */
  readonly logger: Logger
}

/** The bytes that came are not the blob's. */
class WrongBytesError extends UpstreamError {}

export class Fill {
  readonly digest: Digest
  readonly #options: FillOptions
  readonly #linkTo = new Map<string, BlobStore>()
  readonly #readers = new Set<Reader>()
  readonly #started = deferred()
  readonly #verified = deferred()
  readonly #stored = deferred()
  readonly #progress: Progress
  #size: number | undefined
  /** Bytes in the file that readers have heard of. */
  #told = 0
  #telling: NodeJS.Timeout | undefined

  constructor(options: FillOptions) {
    this.#options = options
    this.digest = options.digest
    this.#progress = {
      recent: new RecentBytes(recentBytes),
      received: 0,
      spool: undefined,
      isVerified: false,
      failure: undefined,
      stored: this.#stored.promise,
      news: new News(),
      written: new News(),
    }
  }

  /**
   * Settles when the blob is stored and linked, or has been passed through to its readers (`undefined`), or when the fill
   * has failed; no file of it is open then.
   */
  async run(): Promise<Descriptor | undefined> {
    const { digest, content, isFresh, signal, trouble } = this.#options
    const onAbort = (): void => tellAll(this.#progress)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await using spool = await Spool.open({
        digest,
        content,
        isFresh,
        signal,
        onFailure: (error) => {
          trouble.failed(error, { digest })
          tellAll(this.#progress) // readers may have to do without the file from now on
        },
        onWritten: () => this.#wrote(),
      })
      this.#progress.spool = spool
      await using transfer = await this.#begin(spool).catch(async (error: unknown) => {
        if (signal.aborted || saysNothingOfRanges(error)) await keepIfWorth(spool)
        this.#fail(error) // who hears of it asks again, and is to find what was kept
        throw error
      })
      try {
        return await this.#copy(transfer, spool)
      } catch (error) {
        const isUnfinished = error instanceof UpstreamError ? !(error instanceof WrongBytesError) : signal.aborted
        if (isUnfinished) await keepIfWorth(spool)
        this.#fail(error)
        throw error
      }
    } catch (error) {
      this.#fail(error)
      throw error
    } finally {
      clearTimeout(this.#telling)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** How many follow it now. */
  get readers(): number {
    return this.#readers.size
  }

  /** The repository that it was started for, by whose upstream it comes. */
  get owner(): string | undefined {
    return this.#linkTo.keys().next().value
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
      const size = this.#size ?? this.#progress.received
      const range = options?.range === undefined ? { start: 0, end: size } : resolveRange(options.range, size)
      reader.at = range.start
      const descriptor = blobDescriptor(this.digest, size)
      const body = new FillReader({
        digest: this.digest,
        content: this.#options.content,
        progress: this.#progress,
        reader,
        range,
        signal,
        onLeave: () => this.#leave(reader),
      })
      return { descriptor, range, body }
    } catch (error) {
      this.#leave(reader)
      throw error
    }
  }

  async #begin(spool: Spool): Promise<Transfer> {
    const { logger, signal } = this.#options
    const { transfer, start } = await openBehind(spool, {
      open: async (from) => await this.#open(from, spool),
      onUnreadable: (error) => logger.warn({ error }, 'what was kept of a blob cannot be read'),
      signal,
    })
    this.#size = transfer.size
    this.#progress.received = start
    this.#progress.recent = new RecentBytes(Math.min(recentBytes, transfer.size ?? recentBytes), start)
    this.#started.resolve()
    return transfer
  }

  async #open(start: number, spool: Spool): Promise<Transfer> {
    const { digest, from, attempt, settings, parallel, onResume, logger, signal } = this.#options
    const isWhole = (): boolean => spool.isRight()
    return await openTransfer({ digest, from, start, attempt, settings, parallel, isWhole, onResume, logger, signal })
  }

  async #copy(transfer: Transfer, spool: Spool): Promise<Descriptor | undefined> {
    const { trouble } = this.#options
    await spool.append(this.#watch(transfer.body, spool))
    const host = transfer.hosts.size === 0 ? this.#options.host : [...transfer.hosts].join(' and ')
    if (this.#size !== undefined && this.#progress.received !== this.#size) {
      throw new UpstreamError('invalid', host, `${host} sent ${this.#progress.received} of ${this.#size} bytes`)
    }
    if (!spool.isRight()) {
      this.#options.onWrong()
      throw new WrongBytesError('invalid', host, `${host} sent bytes that do not match ${this.digest}`)
    }
    this.#size = this.#progress.received
    this.#progress.isVerified = true
    this.#verified.resolve()
    tellAll(this.#progress)
    using _ = this.#options.content.hold(this.digest) // until it is linked
    const descriptor = await spool.commit()
    if (descriptor === undefined) return await this.#passOn(spool)
    trouble.works()
    await this.#link()
    this.#stored.resolve()
    this.#progress.recent.clear() // readers who are behind go on from the store
    return descriptor
  }

  /** Passes the bytes on to storage, and lets readers have them. */
  async *#watch(body: AsyncIterable<Uint8Array>, spool: Spool): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of body) {
      if (!spool.isStoring) await this.#waitForReaders(spool)
      this.#progress.recent.push(chunk, spool.isStoring ? Infinity : this.#slowest())
      this.#closeWhereGone(spool)
      this.#progress.received = this.#progress.recent.end
      this.#progress.news.tellSoon() // they take in one go what comes in one go
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
        if (this.#size === undefined && this.#progress.received >= throughBytes) throw spool.failure
        if (slowest >= this.#progress.recent.start && spool.size > 0) {
          if (this.#progress.recent.start > 0) this.#options.onEnd()
          await spool.discard() // its room is wanted
        }
        if (this.#progress.received - slowest < throughBytes) return
        await this.#progress.news.next()
      }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Nobody may join who would want bytes that are neither in memory nor in a file. */
  #closeWhereGone(spool: Spool): void {
    if (!spool.isStoring && spool.size === 0 && this.#progress.recent.start > 0) this.#options.onEnd()
  }

  #cutSlowest(): void {
    const slowest = this.#slowest()
    for (const reader of this.#readers) {
      if (reader.at !== slowest) continue
      reader.isCut = true
      this.#readers.delete(reader)
    }
    tellAll(this.#progress)
  }

  /** The blob is right and cannot be stored: the readers there are get the rest of it. */
  async #passOn(spool: Spool): Promise<undefined> {
    this.#options.onEnd()
    this.#stored.reject(spool.failure)
    while (this.#readers.size > 0) {
      this.#options.signal.throwIfAborted()
      await this.#progress.news.next()
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
    let slowest = this.#progress.received
    for (const { at } of this.#readers) slowest = Math.min(slowest, at)
    return slowest
  }

  #fail(error: unknown): void {
    this.#progress.failure ??= { error }
    this.#options.onEnd()
    for (const waiting of [this.#started, this.#verified, this.#stored]) waiting.reject(error)
    tellAll(this.#progress)
  }

  #leave(reader: Reader): void {
    if (this.#readers.delete(reader)) this.#progress.news.tell()
  }

  #wrote(): void {
    const size = this.#progress.spool?.size ?? 0
    const tell = (): void => {
      clearTimeout(this.#telling)
      this.#telling = undefined
      this.#told = this.#progress.spool?.size ?? 0
      this.#progress.written.tell()
    }
    if (size - this.#told >= worthSending.bytes) tell()
    else this.#telling ??= setTimeout(tell, worthSending.patience)
  }
}

async function keepIfWorth(spool: Spool): Promise<void> {
  if (spool.isStoring && spool.size >= worthKeeping) await spool.keep()
}

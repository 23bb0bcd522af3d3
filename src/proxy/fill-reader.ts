// One reader of a fill: takes the bytes out of memory where it keeps up, out of the file that grows, or out of the store
// that the file has gone to. The last byte of its answer is held back until the digest matches (P1).
import type { News } from '../async/news.ts'
import { waitFor } from '../async/wait.ts'
import type { ByteRange } from '../bytes/range.ts'
import { collect, type ByteStream, type ByteTarget } from '../bytes/stream.ts'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../registry/registry.ts'
import { GrowingFileTarget, NoFileError, type GrowingFile } from './growing-file.ts'
import type { RecentBytes } from './recent-bytes.ts'
import type { Spool } from './spool.ts'

/** Bytes that are taken from memory first: they are there sooner than in the file. */
const fromMemory: number = 256 * 1024

/** How far a fill has come. It writes this; its readers look at it. */
export interface Progress {
  recent: RecentBytes
  /** Bytes that have come. */
  received: number
  spool: Spool | undefined
  isVerified: boolean
  failure: { readonly error: unknown } | undefined
  /** Settles when the blob is in the store, or will not be. */
  readonly stored: Promise<void>
  /** Told when bytes have come, a reader has got on or left, somebody's signal has fired, or the fill has ended. */
  readonly news: News
  /** Told when bytes have been written, somebody's signal has fired, storage has failed, or the fill has ended. */
  readonly written: News
}

/** Tells those who wait for bytes in memory, and those who wait for bytes in the file. */
export function tellAll({ news, written }: Progress): void {
  news.tell()
  written.tell()
}

/** What a fill knows of one of its readers. */
export interface Reader {
  /** The byte that it wants next; all before it may be forgotten as far as it is concerned. */
  at: number
  /** It took nothing for so long that the others no longer wait for it. */
  isCut: boolean
}

export interface FillReaderOptions {
  readonly digest: Digest
  readonly content: ContentStore
  readonly progress: Progress
  readonly reader: Reader
  readonly range: ByteRange
  readonly signal: AbortSignal | undefined
  /** Called once, or more often. */
  readonly onLeave: () => void
}

export class FillReader implements ByteStream {
  readonly #options: FillReaderOptions
  readonly #held = new DisposableStack()
  readonly #chunks: AsyncGenerator<Uint8Array, void>

  constructor(options: FillReaderOptions) {
    const { digest, content, progress, signal, onLeave } = options
    this.#options = options
    this.#held.use(content.hold(digest)) // what has left memory is read from there
    this.#held.defer(onLeave)
    const onAbort = (): void => tellAll(progress)
    signal?.addEventListener('abort', onAbort, { once: true }) // one for all its waits: there may be thousands
    this.#held.defer(() => signal?.removeEventListener('abort', onAbort))
    this.#chunks = this.#readAll()
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void> {
    return this.#chunks
  }

  async transferTo(target: ByteTarget): Promise<void> {
    using _ = this.#held
    const { progress, reader, range } = this.#options
    const first = reader.at < progress.recent.start ? 0 : fromMemory
    for await (const chunk of this.#read(reader.at + first)) await target.write(chunk)
    if (reader.at < range.end && (await this.#sendFile(target))) return
    for await (const chunk of this.#read(range.end)) await target.write(chunk)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    using _ = this.#held // a generator that has not begun knows no end; one that waits still hears of its signal
    this.#options.onLeave()
    await this.#chunks.return()
  }

  async *#readAll(): AsyncGenerator<Uint8Array, void> {
    using _ = this.#held
    yield* this.#read(this.#options.range.end)
  }

  /** The bytes before `until`. */
  async *#read(until: number): AsyncGenerator<Uint8Array, void> {
    const { progress, reader, range } = this.#options
    while (reader.at < Math.min(range.end, until)) {
      this.#check()
      const end = Math.min(progress.received, until, progress.isVerified ? range.end : range.end - 1)
      using recent = reader.at < end ? progress.recent.lend(reader.at) : undefined
      if (reader.at >= end) {
        // A fill that waits for its readers is not to wait for one that waits for its end.
        const isLast = progress.spool?.isStoring === false && end === range.end - 1 && progress.received > end
        const last = isLast && !progress.isVerified ? await this.#readOne(reader.at) : undefined
        if (last === undefined) {
          await progress.news.next()
          continue
        }
        reader.at = Infinity
        progress.news.tell()
        while (!progress.isVerified) {
          this.#check()
          await progress.news.next()
        }
        yield last
      } else if (recent !== undefined) {
        const chunk = recent.bytes.subarray(0, end - reader.at)
        yield chunk
        this.#advance(chunk.byteLength)
      } else {
        for await (const chunk of await this.#reopen({ start: reader.at, end }, Math.min(range.end, until))) {
          yield chunk
          this.#advance(chunk.byteLength)
          this.#check()
        }
      }
    }
  }

  /** Sends the rest out of the file. Says whether it could: not where storage fails, or the file has gone to its place. */
  async #sendFile(target: ByteTarget): Promise<boolean> {
    const { progress, reader, range } = this.#options
    const { spool } = progress
    if (spool?.isStoring !== true) return false
    let opened: ByteStream
    try {
      opened = await spool.open({ start: reader.at, end: range.end })
    } catch {
      return false // whoever reads it hears why
    }
    await using file = opened
    if (file.transferTo === undefined) return false
    const growing = new GrowingFileTarget(target, this.#growing(spool), reader.at)
    try {
      await file.transferTo(growing)
      return true
    } catch (error) {
      // Memory may still have what cannot be read; what it has not is tried again, and says why.
      if (error instanceof NoFileError || !growing.hasFailed) return false
      throw error
    }
  }

  #growing(spool: Spool): GrowingFile {
    const { progress, range } = this.#options
    return {
      there: () => {
        this.#check()
        if (!spool.isStoring) return undefined
        return progress.isVerified ? range.end : Math.min(spool.size, range.end - 1)
      },
      news: async () => await progress.written.next(),
      onTaken: (count) => this.#advance(count),
    }
  }

  /** A byte that is in memory or in the file, to be kept. */
  async #readOne(at: number): Promise<Uint8Array> {
    using recent = this.#options.progress.recent.lend(at)
    if (recent !== undefined) return Buffer.from(recent.bytes.subarray(0, 1))
    return await collect(await this.#reopen({ start: at, end: at + 1 }, at + 1), 1)
  }

  #advance(count: number): void {
    const { progress, reader } = this.#options
    reader.at += count
    if (progress.spool?.isStoring === false) progress.news.tell() // the fill waits for its readers
  }

  /** @throws what the fill failed with, or why the reader is to stop */
  #check(): void {
    const { progress, reader, signal } = this.#options
    if (progress.failure !== undefined) throw progress.failure.error
    signal?.throwIfAborted()
    if (reader.isCut) throw new Error('the reader took nothing for too long')
  }

  /** Reads what has left memory: from the spool while the fill runs, from the store once it is there. */
  async #reopen(here: ByteRange, last: number): Promise<ByteStream> {
    const { digest, content, progress, signal } = this.#options
    const { spool } = progress
    if (spool !== undefined && spool.size > here.start) {
      try {
        return await spool.open({ start: here.start, end: Math.min(here.end, spool.size) })
      } catch (error) {
        if (!progress.isVerified) throw error // it is, when the spool was moved to its place between the two lines
      }
    }
    if (spool?.isStoring === false && !progress.isVerified) throw spool.failure
    await waitFor(progress.stored, signal)
    const { body } = await content.open(digest, { range: { start: here.start, end: last } })
    return body
  }
}

// A fill: one running copy of a blob from an upstream into local storage, owned by nobody's request. Readers follow the
// bytes as they come; the last byte of every answer is held back until the digest matches (P1).
import { deferred } from '../async/deferred.ts'
import { waitFor } from '../async/wait.ts'
import { resolveRange, type ByteRange } from '../bytes/range.ts'
import type { ByteStream } from '../bytes/stream.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { OpenBlob, OpenOptions } from '../registry/source.ts'
import type { BlobStore, Upload } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { FetchedBlob, UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { RecentBytes } from './recent-bytes.ts'

/** Blobs up to this size are answered when they are whole: a failure is then an honest status, not a cut connection. */
const smallBlob: number = 64 * 1024

/** Bytes at the head of a fill that are kept in memory, so that readers who keep up need no file. */
const recentBytes: number = 2 * 1024 * 1024

export interface FillOptions {
  readonly digest: Digest
  readonly from: UpstreamBlobs
  /** The upstream's host, for sentences. */
  readonly host: string
  readonly content: ContentStore
  /** Ends the fill, at shutdown. */
  readonly signal: AbortSignal
  /** Called once, when the fill takes no more readers: from then on the blob is in its place, or is not. */
  readonly onEnd: () => void
  readonly logger: Logger
}

export class Fill {
  readonly digest: Digest
  readonly #options: FillOptions
  readonly #recent = new RecentBytes(recentBytes)
  readonly #linkTo = new Map<string, BlobStore>()
  readonly #started = deferred()
  readonly #verified = deferred()
  readonly #stored = deferred<Descriptor>()
  /** Readers who wait for more. */
  #waiting: (() => void)[] = []
  #upload: Upload | undefined
  #size: number | undefined
  #received = 0
  #isVerified = false
  #failure: { readonly error: unknown } | undefined

  constructor(options: FillOptions) {
    this.#options = options
    this.digest = options.digest
  }

  /** Settles when the blob is stored and linked, or when the fill has failed and nothing of it is left. */
  async run(): Promise<Descriptor> {
    try {
      const fetched = await this.#options.from.fetch(this.digest, { signal: this.#options.signal })
      await using body = fetched.body
      await using upload = await this.#options.content.receive({ signal: this.#options.signal })
      this.#upload = upload
      this.#size = fetched.size
      this.#started.resolve()
      await upload.append(this.#watch(body), { signal: this.#options.signal })
      await this.#verify(upload, fetched)
      using _ = this.#options.content.hold(this.digest) // until it is linked
      const descriptor = await upload.commit(this.digest)
      await this.#link()
      this.#stored.resolve(descriptor)
      this.#recent.clear() // readers who are behind go on from the store
      return descriptor
    } catch (error) {
      this.#fail(error)
      throw error
    }
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
    await waitFor(this.#started.promise, signal)
    if (this.#size === undefined || this.#size <= smallBlob) await waitFor(this.#verified.promise, signal)
    const size = this.#size ?? this.#received
    const range = options?.range === undefined ? { start: 0, end: size } : resolveRange(options.range, size)
    const descriptor = { mediaType: mediaTypes.octetStream, digest: this.digest, size }
    return { descriptor, range, body: this.#read(range, signal) }
  }

  /** A repository that cannot be linked hurts no other; it finds the blob stored when it is next asked for it. */
  async #link(): Promise<void> {
    for (const [repository, blobs] of this.#linkTo) {
      try {
        await blobs.link(this.digest)
      } catch (error) {
        this.#options.logger.error({ repository, digest: this.digest, error }, 'blob could not be linked')
      }
    }
    this.#options.onEnd() // at once: whoever joined until now is linked
  }

  /** Passes the bytes on to storage, and lets readers have them. */
  async *#watch(body: ByteStream): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of body) {
      this.#recent.push(chunk)
      this.#received = this.#recent.end
      this.#wake()
      yield chunk
    }
  }

  async #verify(upload: Upload, fetched: FetchedBlob): Promise<void> {
    const { host } = this.#options
    if (fetched.size !== undefined && upload.size !== fetched.size) {
      throw new UpstreamError('invalid', host, `${host} sent ${upload.size} of ${fetched.size} bytes`)
    }
    try {
      await upload.verify(this.digest)
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      const message = `${host} sent bytes that do not match ${this.digest}`
      throw new UpstreamError('invalid', host, message, { cause: error })
    }
    this.#size = upload.size
    this.#isVerified = true
    this.#verified.resolve()
    this.#wake()
  }

  #wake(): void {
    const woken = this.#waiting
    this.#waiting = []
    for (const wake of woken) wake()
  }

  #fail(error: unknown): void {
    this.#failure = { error }
    this.#options.onEnd()
    for (const waiting of [this.#started, this.#verified, this.#stored]) waiting.reject(error)
    this.#wake()
  }

  async *#read(range: ByteRange, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void> {
    let wake: (() => void) | undefined
    const onAbort = (): void => wake?.()
    signal?.addEventListener('abort', onAbort, { once: true })
    using _ = this.#options.content.hold(this.digest) // what has left memory is read from there
    try {
      let at = range.start
      while (at < range.end) {
        this.#check(signal)
        const end = Math.min(this.#received, this.#isVerified ? range.end : range.end - 1)
        const recent = this.#recent.at(at)
        if (at >= end) {
          await new Promise<void>((resolve) => {
            wake = resolve
            this.#waiting.push(resolve)
          })
        } else if (recent !== undefined) {
          const chunk = recent.subarray(0, end - at)
          at += chunk.byteLength
          yield chunk
        } else {
          for await (const chunk of await this.#reopen({ start: at, end }, range.end, signal)) {
            at += chunk.byteLength
            yield chunk
            this.#check(signal)
          }
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** @throws what the fill failed with, or why the reader is to stop */
  #check(signal: AbortSignal | undefined): void {
    if (this.#failure !== undefined) throw this.#failure.error
    signal?.throwIfAborted()
  }

  /** Reads what has left memory: from the spool while the fill runs, from the store once it is there. */
  async #reopen(here: ByteRange, last: number, signal: AbortSignal | undefined): Promise<ByteStream> {
    if (!this.#isVerified && this.#upload !== undefined) {
      const end = Math.min(here.end, this.#upload.size)
      try {
        return await this.#upload.open({ start: here.start, end })
      } catch (error) {
        if (!this.#isVerified) throw error // it is, when the spool was moved to its place between the two lines
      }
    }
    await waitFor(this.#stored.promise, signal)
    const { body } = await this.#options.content.open(this.digest, { range: { start: here.start, end: last } })
    return body
  }
}

// The file that a fill writes, and the digest of what has come. Storage may fail at any time: the bytes are counted on,
// and those that were written can still be read.
import { Digester } from '../bytes/digester.ts'
import type { ByteRange } from '../bytes/range.ts'
import type { ByteStream } from '../bytes/stream.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, type Digest } from '../oci/digest.ts'
import type { ContentStore, ReceiveOptions } from '../registry/registry.ts'
import type { Upload } from '../registry/store.ts'

export interface SpoolOptions {
  readonly digest: Digest
  readonly content: ContentStore
  /** Without what earlier fills have left. */
  readonly isFresh: boolean
  readonly signal: AbortSignal
  readonly onFailure: (error: unknown) => void
  /** Called when more bytes can be read back. */
  readonly onWritten: () => void
}

/** Disposing it removes what was neither committed nor kept. */
export class Spool implements AsyncDisposable {
  readonly #options: SpoolOptions
  #digester: Digester
  #upload: Upload | undefined
  #failure: { readonly error: unknown } | undefined

  private constructor(options: SpoolOptions) {
    this.#options = options
    this.#digester = new Digester(algorithmOf(options.digest))
  }

  /** Begins with what an earlier fill has left. Where storage fails it begins as failed. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const spool = new Spool(options)
    await spool.#receive(options)
    return spool
  }

  /** Bytes that can be read back. */
  get size(): number {
    return this.#upload?.size ?? 0
  }

  get isStoring(): boolean {
    return this.#failure === undefined
  }

  /** What storage failed with. */
  get failure(): unknown {
    return this.#failure?.error
  }

  /** Counts the bytes that were there from the beginning. */
  async count(): Promise<void> {
    for await (const chunk of await this.open({ start: 0, end: this.size })) {
      this.#options.signal.throwIfAborted()
      this.#digester.update(chunk)
    }
  }

  /** Begins anew, without what was there, nor what another fill has left. */
  async restart(): Promise<void> {
    await this.discard()
    this.#digester = new Digester(this.#digester.algorithm)
    await this.#receive({ isFresh: true })
  }

  /** Takes a stream to its end. @throws what the stream fails with; the signal's reason */
  async append(source: AsyncIterable<Uint8Array>): Promise<void> {
    const { signal, onWritten } = this.#options
    const iterator = source[Symbol.asyncIterator]()
    let sourceFailure: { readonly error: unknown } | undefined
    const next = async (): Promise<IteratorResult<Uint8Array>> => {
      try {
        return await iterator.next()
      } catch (error) {
        sourceFailure = { error }
        throw error
      }
    }
    if (this.isStoring && this.#upload !== undefined) {
      try {
        await this.#upload.append({ [Symbol.asyncIterator]: () => ({ next }) }, { signal, onWritten })
        return
      } catch (error) {
        if (sourceFailure !== undefined) throw sourceFailure.error
        signal.throwIfAborted()
        this.#fail(error)
      }
    }
    for (let item = await next(); item.done !== true; item = await next()) this.#digester.update(item.value)
  }

  /** Whether all that has come is what it should be. */
  isRight(): boolean {
    return this.#digester.digest() === this.#options.digest
  }

  /** Publishes the bytes, which are right; `undefined` where storage fails. */
  async commit(): Promise<Descriptor | undefined> {
    if (!this.isStoring) return undefined
    try {
      return await this.#upload?.commit(this.#options.digest)
    } catch (error) {
      this.#options.signal.throwIfAborted()
      this.#fail(error)
      return undefined
    }
  }

  /** Reads bytes back, until they are committed or discarded. */
  async open(range: ByteRange): Promise<ByteStream> {
    if (this.#upload === undefined) throw this.failure
    return await this.#upload.open(range)
  }

  /** Leaves the bytes to the next fill of the blob. */
  async keep(): Promise<void> {
    try {
      await this.#upload?.close()
    } catch (error) {
      this.#fail(error)
    }
  }

  async discard(): Promise<void> {
    const upload = this.#upload
    this.#upload = undefined
    await upload?.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard()
  }

  async #receive({ isFresh }: Pick<ReceiveOptions, 'isFresh'>): Promise<void> {
    const { digest, content, signal } = this.#options
    try {
      this.#upload = await content.receive({ isFresh, digest, digester: this.#digester, signal })
    } catch (error) {
      signal.throwIfAborted()
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    this.#failure = { error }
    this.#options.onFailure(error)
  }
}

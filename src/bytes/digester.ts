// Digests of bytes in motion.
import { createHash, type Hash } from 'node:crypto'
import { parseDigest, algorithmOf, type Digest, type DigestAlgorithm } from '../oci/digest.ts'
import type { ByteStream } from './stream.ts'

/** A running digest. */
export class Digester {
  readonly algorithm: DigestAlgorithm
  readonly #hash: Hash
  #size = 0

  constructor(algorithm: DigestAlgorithm = 'sha256') {
    this.algorithm = algorithm
    this.#hash = createHash(algorithm)
  }

  /** Bytes taken so far. */
  get size(): number {
    return this.#size
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    this.#size += chunk.byteLength
  }

  /** Of all bytes until now; more may follow. */
  digest(): Digest {
    return parseDigest(`${this.algorithm}:${this.#hash.copy().digest('hex')}`)
  }
}

/** Bytes that are not what their name says. */
export class DigestMismatchError extends Error {
  override readonly name = 'DigestMismatchError'
  readonly expected: Digest

  constructor(expected: Digest) {
    super(`the bytes do not match ${expected}`)
    this.expected = expected
  }
}

/** Reads a stream to its end. */
export async function digestOfStream(source: AsyncIterable<Uint8Array>, algorithm: DigestAlgorithm): Promise<Digest> {
  const digester = new Digester(algorithm)
  for await (const chunk of source) digester.update(chunk)
  return digester.digest()
}

export interface VerifyOptions {
  readonly digest: Digest
  readonly size: number
  /** Called once all bytes have been found right, before the last of them is handed out. */
  readonly onMatch?: (() => void) | undefined
  readonly onMismatch?: (() => Promise<void>) | undefined
}

/**
 * Passes a stream on and holds its last chunk back until all bytes match: it fails with DigestMismatchError before its
 * last byte where they are others, or not exactly `size`. Owns `source`.
 */
export function verified(source: ByteStream, options: VerifyOptions): ByteStream {
  return new VerifiedStream(source, options)
}

class VerifiedStream implements ByteStream {
  readonly #source: ByteStream
  readonly #options: VerifyOptions
  readonly #chunks: AsyncGenerator<Uint8Array, void>

  constructor(source: ByteStream, options: VerifyOptions) {
    this.#source = source
    this.#options = options
    this.#chunks = this.#read()
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void> {
    const leave = async (): Promise<IteratorResult<Uint8Array, void>> => {
      await this[Symbol.asyncDispose]()
      return { done: true, value: undefined }
    }
    return { next: async () => await this.#chunks.next(), return: leave }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return()
    await this.#source[Symbol.asyncDispose]()
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    const { digest, size, onMatch } = this.#options
    const digester = new Digester(algorithmOf(digest))
    for await (const chunk of this.#source) {
      digester.update(chunk)
      if (digester.size > size) await this.#fail()
      if (digester.size === size) {
        if (digester.digest() !== digest) await this.#fail()
        onMatch?.()
      }
      yield chunk
    }
    if (digester.size !== size) await this.#fail()
    if (size > 0) return
    if (digester.digest() !== digest) await this.#fail()
    onMatch?.()
  }

  async #fail(): Promise<never> {
    await this.#options.onMismatch?.()
    throw new DigestMismatchError(this.#options.digest)
  }
}

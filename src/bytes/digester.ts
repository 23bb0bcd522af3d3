// Digests of bytes in motion.
import { createHash, type Hash } from 'node:crypto'
import { parseDigest, type Digest, type DigestAlgorithm } from '../oci/digest.ts'

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

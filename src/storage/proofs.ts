// Which stored files have been read and found right since this process started. Content is hashed when it is first read
// here, and never again while the file stays as it was (P1, P6).
import pLimit, { type LimitFunction } from 'p-limit'
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import { digestOfStream, verified } from '../bytes/digester.ts'
import type { ByteStream } from '../bytes/stream.ts'
import type { OpenFile } from '../drivers/driver.ts'
import { algorithmOf, type Digest } from '../oci/digest.ts'

/** Proofs that are remembered; the least used one that is forgotten costs a hash. */
const maxProofs = 50_000

/** Files that are read for proof alone at once, before a range of each may be served. */
const maxReads = 2

export interface ProofsOptions {
  /** Called for a file that was read whole and found wrong. */
  readonly onDamage: (digest: Digest, version: string) => Promise<void>
}

export class Proofs {
  readonly #onDamage: (digest: Digest, version: string) => Promise<void>
  readonly #versions = new LRUCache<Digest, string>({ max: maxProofs })
  readonly #running = new Coalescer<boolean>()
  readonly #limit: LimitFunction = pLimit(maxReads)

  constructor(options: ProofsOptions) {
    this.#onDamage = options.onDamage
  }

  /** Whether the file with that version has been found right. */
  has(digest: Digest, version: string): boolean {
    return this.#versions.get(digest) === version
  }

  add(digest: Digest, version: string): void {
    this.#versions.set(digest, version)
  }

  /** A whole file that is proven while it is read; where it is wrong it fails before its last byte. */
  watch(file: OpenFile, digest: Digest): ByteStream {
    const { size, version } = file
    return verified(file, {
      digest,
      size,
      onMatch: () => this.add(digest, version),
      onMismatch: async () => await this.#onDamage(digest, version),
    })
  }

  /** Reads a whole file, and says whether it is right; callers that come meanwhile share the reading. */
  async prove(digest: Digest, open: () => Promise<OpenFile>, signal: AbortSignal | undefined): Promise<boolean> {
    const read = async (): Promise<boolean> => {
      const file = await open()
      const { version } = file
      if ((await digestOfStream(file, algorithmOf(digest))) === digest) {
        this.add(digest, version)
        return true
      }
      await this.#onDamage(digest, version)
      return false
    }
    return await this.#running.run(digest, async () => await this.#limit(read), signal)
  }
}

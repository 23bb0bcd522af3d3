// Small blobs (configs, mostly): read whole, and kept in memory while they are asked for.
import { LRUCache } from 'lru-cache'
import { collect } from '../bytes/stream.ts'
import type { OpenFile } from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { isAsSeen, type FileWatch, type SeenFile } from './seen-file.ts'
import { unreadable } from './unreadable.ts'

/** Bytes of the largest of them. */
export const smallBlob: number = 64 * 1024

/** Bytes of all that are kept. */
const maxSize = 16 * 1024 * 1024

interface SmallBlob extends SeenFile {
  readonly bytes: Uint8Array
}

export interface SmallBlobsOptions extends FileWatch {
  /** Whether bytes are proven before they are given out. */
  readonly isProven: boolean
  /** @throws RegistryError BLOB_UNKNOWN, UnreadableError */
  readonly open: (digest: Digest) => Promise<OpenFile>
  /** Bytes of a file were found wrong. */
  readonly onDamage: (digest: Digest, version: string) => Promise<void>
}

export class SmallBlobs {
  readonly #options: SmallBlobsOptions
  readonly #kept = new LRUCache<Digest, SmallBlob>({
    maxSize,
    sizeCalculation: ({ bytes }) => bytes.byteLength + 512,
  })

  constructor(options: SmallBlobsOptions) {
    this.#options = options
  }

  /**
   * A blob's bytes, from memory as long as its file is as it was a moment ago (`trust`): they were proven when they came to
   * be there. `undefined` where its file has another size.
   * @throws RegistryError BLOB_UNKNOWN, UnreadableError
   */
  async find({ digest, size }: Descriptor): Promise<Uint8Array | undefined> {
    const { isProven, now, open, onDamage } = this.#options
    const kept = this.#kept.get(digest)
    if (kept !== undefined) {
      if (await isAsSeen(kept, digest, this.#options)) return kept.bytes
      this.#kept.delete(digest)
    }
    const seen = now()
    await using file = await open(digest)
    if (file.size !== size) return undefined
    const bytes = await collect(file, size).catch((error: unknown) => {
      throw unreadable(digest, error)
    })
    if (isProven && digestOf(bytes) !== digest) {
      await onDamage(digest, file.version)
      throw new RegistryError('BLOB_UNKNOWN', { digest })
    }
    this.#kept.set(digest, { bytes, version: file.version, seen })
    return bytes
  }

  forget(digest: Digest): void {
    this.#kept.delete(digest)
  }
}

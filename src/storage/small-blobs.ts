// Small blobs (configs, mostly): read whole, and kept in memory while they are asked for.
import { LRUCache } from 'lru-cache'
import { collect } from '../bytes/stream.ts'
import type { OpenFile } from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobFiles } from './blob-files.ts'
import { trust } from './link-files.ts'
import { unreadable } from './unreadable.ts'

/** Bytes of the largest of them. */
export const smallBlob: number = 64 * 1024

/** Bytes of all that are kept. */
const maxSize = 16 * 1024 * 1024

interface SmallBlob {
  readonly bytes: Uint8Array
  /** Of the file that they were read from. */
  readonly version: string
  /** When that file was last seen. */
  seen: number
}

export interface SmallBlobsOptions {
  /** Whether bytes are proven before they are given out. */
  readonly isProven: boolean
  /** A clock that is never set back, in milliseconds. */
  readonly now: () => number
  readonly stat: BlobFiles['stat']
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
    const { isProven, stat, open, onDamage } = this.#options
    const kept = this.#kept.get(digest)
    const now = this.#options.now()
    if (kept !== undefined) {
      if (now - kept.seen < trust) return kept.bytes
      const found = await stat(digest)
      kept.seen = now
      if (found?.kind === 'file' && found.version === kept.version) return kept.bytes
      this.#kept.delete(digest)
    }
    await using file = await open(digest)
    if (file.size !== size) return undefined
    const bytes = await collect(file, size).catch((error: unknown) => {
      throw unreadable(digest, error)
    })
    if (isProven && digestOf(bytes) !== digest) {
      await onDamage(digest, file.version)
      throw new RegistryError('BLOB_UNKNOWN', { digest })
    }
    this.#kept.set(digest, { bytes, version: file.version, seen: now })
    return bytes
  }

  forget(digest: Digest): void {
    this.#kept.delete(digest)
  }
}

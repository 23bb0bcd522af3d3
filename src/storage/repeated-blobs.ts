// Blobs that are asked for again and again and are too large for `SmallBlobs`: their bytes are lent out of memory, which
// saves each answer the calls on a file. Where the system sends files, they lie in files in memory, which saves the copy too.
// All of them together are bounded, those that slow clients still take among them.
import { LRUCache } from 'lru-cache'
import { MemoryFileStream, type MemoryFile, type MemoryFiles } from '../bytes/memory-file.ts'
import type { ByteRange } from '../bytes/range.ts'
import { WholeStream, type ByteStream } from '../bytes/stream.ts'
import type { OpenFile } from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isAsSeen, type FileWatch, type SeenFile } from './seen-file.ts'

/** Bytes of the largest of them. */
const largest = 1024 * 1024

/** Bytes of all. */
const budget = 32 * 1024 * 1024

/** Milliseconds within which a blob that is asked for twice is asked for again and again, and none makes room for another. */
const again = 1000

/** Its bytes stay as they are until it is disposed. */
export interface LentBlob extends Disposable {
  /** Bytes of it, to be read before then. */
  read(range: ByteRange): ByteStream
  /** Lends it once more, also after it was disposed; `undefined` where it is kept no longer. */
  again(): LentBlob | undefined
}

const nothing = new Uint8Array(0)

interface Kept extends SeenFile {
  readonly size: number
  content: Uint8Array | MemoryFile
  /** When they were last asked for. */
  asked: number
  readers: number
}

export class RepeatedBlobs {
  readonly #watch: FileWatch
  readonly #files: MemoryFiles | undefined
  /** Those that were asked for last are at the end. */
  readonly #kept = new Map<Digest, Kept>()
  /** Those that are being read. */
  readonly #coming = new Map<Digest, Kept>()
  /** When blobs were asked for that are not kept. */
  readonly #asked = new LRUCache<Digest, number>({ max: 1000 })
  /** Bytes that are kept, are being read, or were forgotten while somebody reads them. */
  #size = 0

  constructor(watch: FileWatch, files?: MemoryFiles) {
    this.#watch = watch
    this.#files = files
  }

  /** A blob's bytes, as long as its file is as it was a moment ago (`trust`); `undefined` where they are not here. */
  async lend({ digest, size }: Descriptor): Promise<LentBlob | undefined> {
    const kept = size > largest ? undefined : this.#kept.get(digest)
    if (kept === undefined) return undefined
    const isHere = await isAsSeen(kept, digest, this.#watch)
    if (this.#kept.get(digest) !== kept) return undefined
    if (!isHere || kept.size !== size) {
      this.forget(digest)
      return undefined
    }
    kept.asked = this.#watch.now()
    this.#kept.delete(digest)
    this.#kept.set(digest, kept)
    this.#moveToFile(kept) // there are none before some large answer has been sent
    return this.#lent(digest, kept)
  }

  /**
   * Reads a file to its end where its blob is asked for again and again, and lends its bytes. It is the whole blob's, and may be
   * served as it lies. `undefined` where it was left as it is.
   * @throws what reading fails with, and where the file is too short
   */
  async keep(digest: Digest, file: OpenFile): Promise<LentBlob | undefined> {
    const { size, version } = file
    const now = this.#watch.now()
    if (size > largest || !this.#isAskedAgain(digest, now)) return undefined
    if (this.#coming.has(digest) || this.#kept.has(digest) || !this.#makeRoom(size)) return undefined
    const bytes = Buffer.allocUnsafeSlow(size)
    const kept: Kept = { size, content: bytes, version, seen: now, asked: now, readers: 0 }
    this.#coming.set(digest, kept)
    this.#size += size
    const lent = this.#lent(digest, kept)
    try {
      let at = 0
      for await (const chunk of file) {
        bytes.set(chunk, at)
        at += chunk.byteLength
      }
      this.#moveToFile(kept)
      if (this.#coming.get(digest) === kept) this.#kept.set(digest, kept) // not where it was forgotten meanwhile
      return lent
    } catch (error) {
      lent[Symbol.dispose]()
      throw error
    } finally {
      if (this.#coming.get(digest) === kept) this.#coming.delete(digest)
    }
  }

  forget(digest: Digest): void {
    this.#coming.delete(digest)
    const kept = this.#kept.get(digest)
    if (kept === undefined) return
    this.#kept.delete(digest)
    this.#release(kept)
  }

  /** Idempotent to dispose. Whoever reads bytes that are no longer kept is the last to need room for them. */
  #lent(digest: Digest, kept: Kept): LentBlob {
    kept.readers += 1
    let isLent = true
    return {
      read: (range) => streamOf(kept.content, range),
      again: () => (this.#kept.get(digest) === kept ? this.#lent(digest, kept) : undefined),
      [Symbol.dispose]: () => {
        if (!isLent) return
        isLent = false
        kept.readers -= 1
        if (this.#kept.get(digest) !== kept) this.#release(kept)
      },
    }
  }

  #isAskedAgain(digest: Digest, now: number): boolean {
    const before = this.#asked.get(digest)
    this.#asked.set(digest, now)
    return before !== undefined && now - before <= again
  }

  /** Forgets what nobody has asked for lately. Says whether that was enough: who still reads such bytes holds their room. */
  #makeRoom(size: number): boolean {
    const since = this.#watch.now() - again
    for (const [digest, { asked }] of this.#kept) {
      if (this.#size + size <= budget || asked > since) break
      this.forget(digest)
    }
    return this.#size + size <= budget
  }

  #release(kept: Kept): void {
    const { size, content, readers } = kept
    if (readers > 0) return
    this.#size -= size
    kept.content = nothing // somebody may know of it for longer, so as to ask again
    if (!(content instanceof Uint8Array)) content[Symbol.dispose]()
  }

  #moveToFile(kept: Kept): void {
    if (kept.content instanceof Uint8Array) kept.content = this.#files?.create(kept.content) ?? kept.content
  }
}

function streamOf(content: Uint8Array | MemoryFile, range: ByteRange): ByteStream {
  if (!(content instanceof Uint8Array)) return new MemoryFileStream(content, range)
  return new WholeStream(content.subarray(range.start, range.end))
}

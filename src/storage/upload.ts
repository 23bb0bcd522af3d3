// An unfinished blob: bytes in a file of its own that grows until it is verified, made durable and published, in that
// order (P2).
import { LRUCache } from 'lru-cache'
import { deferred } from '../async/deferred.ts'
import { KeyedLock } from '../async/lock.ts'
import { waitFor } from '../async/wait.ts'
import { digestOfStream, Digester } from '../bytes/digester.ts'
import type { ByteRange } from '../bytes/range.ts'
import type { ByteStream } from '../bytes/stream.ts'
import { BufferPool } from '../drivers/buffer-pool.ts'
import {
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type FileStat,
  type FileWriter,
  type StorageDriver,
} from '../drivers/driver.ts'
import { blobDescriptor, type Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, type Digest, type DigestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { CallOptions } from '../registry/call.ts'
import type { AppendOptions, Upload, UploadId } from '../registry/store.ts'
import { BatchedWriter } from './batched-writer.ts'

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function isUploadId(text: string): text is UploadId {
  return uuidPattern.test(text)
}

/** The digest of a file's bytes, as long as it has this version: another process may write to it too. */
interface KnownBytes {
  readonly digester: Digester
  readonly version: string
}

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/** What the uploads of one registry share. */
export class UploadRoom {
  readonly driver: StorageDriver
  readonly pool: BufferPool = new BufferPool([
    { size: 512 * kibibyte, most: 32 * mebibyte, kept: 8 * mebibyte },
    { size: 64 * kibibyte, most: 16 * mebibyte, kept: 2 * mebibyte },
    { size: 16 * kibibyte, most: Infinity, kept: mebibyte },
  ])
  /** One append or commit at a time per session, whichever requests they come from. */
  readonly lock: KeyedLock = new KeyedLock()
  /** Digests of closed sessions, so that the next request of one need not read what came before. */
  readonly digesters: LRUCache<UploadId, KnownBytes> = new LRUCache<UploadId, KnownBytes>({ max: 1000 })
  /** Files that are open here: no sweep may take them away. */
  readonly open: Set<DriverPath> = new Set<DriverPath>()
  /** Files of other processes that have been copied from: once is enough, should they be wrong. */
  readonly copied: LRUCache<DriverPath, true> = new LRUCache<DriverPath, true>({ max: 1000 })

  constructor(driver: StorageDriver) {
    this.driver = driver
  }
}

/** Where an upload lies, and what becomes of it. */
export interface UploadPlace {
  readonly id: UploadId
  readonly startedAt: Date
  /** The file of bytes. */
  readonly path: DriverPath
  /** What to remove when the session is over. */
  readonly folder: DriverPath
  /** Counts all bytes of the file and each that is appended; without it the upload makes one of its own. */
  readonly digester?: Digester | undefined
  /** Where `close` leaves the file; without it, where it is. */
  readonly kept?: DriverPath | undefined
  /** Moves the durable, verified file away to its blob's place, unless that blob is there already. */
  readonly publish: (path: DriverPath, target: Digest, size: number) => Promise<void>
  /** Sees to it that the published blob stays until it is linked. */
  readonly claim: (target: Digest) => Promise<Disposable>
  /** Makes the published blob visible under the digest that it was committed by. */
  readonly reveal?: ((digest: Digest, target: Digest) => Promise<void>) | undefined
}

/**
 * `open` reads the file that grows, and so works until `commit` begins to publish it: a reader that comes later finds the
 * blob in its store. `size` counts bytes that can be read back; what is on its way to the file is not among them.
 */
export class StoredUpload implements Upload {
  readonly id: UploadId
  readonly startedAt: Date
  readonly #place: UploadPlace
  readonly #room: UploadRoom
  readonly #writer: FileWriter
  readonly #verified = new Set<Digest>()
  /** Of all bytes in the file; absent where this process has not seen them all. */
  #digester: Digester | undefined
  /** Of the file, as this process left it. */
  #version: string
  #isOver = false

  private constructor(place: UploadPlace, room: UploadRoom, writer: FileWriter, version: string) {
    this.id = place.id
    this.startedAt = place.startedAt
    this.#place = place
    this.#room = room
    this.#writer = writer
    this.#version = version
    const before = room.digesters.get(place.id)
    this.#digester = place.digester ?? (before?.version === version ? before.digester : undefined)
    if (writer.size === 0) this.#digester ??= new Digester()
    room.digesters.delete(place.id)
    room.open.add(place.path)
  }

  /** Opens the file, and makes it where it is not there. */
  static async open(place: UploadPlace, room: UploadRoom): Promise<StoredUpload> {
    // Of a fill: what it takes up may be old, and is not to be swept. Of a push its version would be another.
    const touch = place.kept !== undefined
    const writer = await room.driver.writer(place.path, { append: true, touch })
    try {
      const { version } = await room.driver.stat(place.path)
      return new StoredUpload(place, room, writer, version)
    } catch (error) {
      await writer.close()
      throw error
    }
  }

  get size(): number {
    return this.#writer.size
  }

  async append(source: AsyncIterable<Uint8Array>, options?: AppendOptions): Promise<void> {
    await this.#alone(options?.signal, async () => {
      await this.#checkFile()
      this.#verified.clear()
      const batch = new BatchedWriter(this.#writer, this.#room.pool, options?.onWritten)
      try {
        const { digester } = this.#place
        for await (const chunk of until(options?.signal, source)) {
          digester?.update(chunk)
          if (this.#digester !== digester) this.#digester?.update(chunk)
          await batch.add(chunk)
        }
      } finally {
        try {
          await batch.finish()
        } finally {
          this.#version = (await this.#stat()).version
        }
      }
    })
  }

  async open(range: ByteRange): Promise<ByteStream> {
    return await this.#room.driver.open(this.#place.path, range)
  }

  async verify(digest: Digest): Promise<void> {
    if (this.#verified.has(digest)) return
    if ((await this.#digest(algorithmOf(digest))) !== digest) {
      throw new RegistryError('DIGEST_INVALID', `the uploaded bytes do not match ${digest}`)
    }
    this.#verified.add(digest)
  }

  async commit(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    let hasBegun = false
    try {
      return await this.#alone(options?.signal, async () => {
        await this.#checkFile()
        hasBegun = true
        await this.verify(digest)
        const target = algorithmOf(digest) === 'sha256' ? digest : await this.#digest('sha256')
        const { size } = this.#writer
        await this.#writer.sync()
        await this.#writer.close()
        using _ = await this.#place.claim(target)
        await this.#place.publish(this.#place.path, target, size)
        await this.#place.reveal?.(digest, target)
        // It was there already, maybe, and swept before the link could be seen.
        await this.#place.publish(this.#place.path, target, size)
        await this.abort() // what is left of the session; published bytes are elsewhere
        return blobDescriptor(digest, size)
      })
    } catch (error) {
      // Who left before its turn, or whom another request got ahead of, may still go on.
      if (hasBegun && !(error instanceof DriverError)) await this.abort()
      throw error
    }
  }

  async close(): Promise<void> {
    if (!this.#end()) return
    const { path, kept } = this.#place
    if (this.#digester !== undefined && kept === undefined) {
      this.#room.digesters.set(this.id, { digester: this.#digester, version: this.#version })
    }
    await this.#writer.close()
    if (kept !== undefined) await this.#room.driver.move(path, kept)
  }

  async abort(): Promise<void> {
    if (!this.#end()) return
    await this.#writer.close().catch(() => {})
    await this.#room.driver.remove(this.#place.folder).catch(() => {}) // gone already, or left to the sweep
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort()
  }

  #end(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#room.open.delete(this.#place.path)
    return true
  }

  /** @throws RegistryError BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID where another request got ahead of this one */
  async #checkFile(): Promise<void> {
    if (this.#isOver) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 'this upload is over')
    const { size, version } = await this.#stat()
    if (size !== this.#writer.size) {
      throw new RegistryError('BLOB_UPLOAD_INVALID', 'another request has written to this upload')
    }
    if (version === this.#version) return
    // Another process has written over these bytes: only the file itself says what they are.
    this.#digester = undefined
    this.#verified.clear()
    this.#version = version
  }

  async #stat(): Promise<FileStat> {
    try {
      return await this.#room.driver.stat(this.#place.path)
    } catch (cause) {
      if (cause instanceof PathNotFoundError) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', undefined, { cause })
      throw cause
    }
  }

  async #digest(algorithm: DigestAlgorithm): Promise<Digest> {
    const known = this.#digester // it has counted more than there is where a write has failed
    if (known?.algorithm === algorithm && known.size === this.#writer.size) return known.digest()
    const range = { start: 0, end: this.#writer.size }
    return await digestOfStream(await this.open(range), algorithm)
  }

  /** A caller that stops waiting for its turn never gets it; one whose turn has come is waited for. */
  async #alone<T>(signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
    const turn = deferred()
    const run = this.#room.lock.run(this.id, async () => {
      signal?.throwIfAborted()
      turn.resolve()
      return await task()
    })
    await waitFor(Promise.race([turn.promise, run]), signal)
    return await run
  }
}

/** Passes a stream on until `signal` fires, also where the stream has nothing to say at that time. */
async function* until(
  signal: AbortSignal | undefined,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  if (signal === undefined) return yield* source
  const iterator = source[Symbol.asyncIterator]()
  let stop: ((reason: unknown) => void) | undefined
  const onAbort = (): void => stop?.(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true }) // one for all waits: there are thousands
  try {
    while (true) {
      signal.throwIfAborted()
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        stop = reject
        iterator.next().then(resolve, reject)
      })
      if (next.done === true) return
      yield next.value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    const left = Promise.resolve(iterator.return?.()).catch(() => {})
    if (!signal.aborted) await left // else it may never answer
  }
}

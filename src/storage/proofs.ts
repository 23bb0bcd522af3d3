// Which stored files have been read and found right since this process started. Unless its keeper wants it otherwise,
// content is hashed when it is first read here, and never again while the file stays as it was (P1, P6).
import pLimit, { type LimitFunction } from 'p-limit'
import { deferred } from '../async/deferred.ts'
import { waitFor } from '../async/wait.ts'
import { DigestMismatchError, digestOfStream } from '../bytes/digester.ts'
import type { ByteStream } from '../bytes/stream.ts'
import { recent } from '../cache/recent.ts'
import type { OpenFile } from '../drivers/driver.ts'
import { algorithmOf, type Digest } from '../oci/digest.ts'

/** Proofs that are remembered; the least used one that is forgotten costs a hash. */
const maxProofs = 50_000

/** Files that are remembered to have failed their reader; one that is forgotten may cut another reader off. */
const maxDoubts = 10_000

/** Files that are read for proof at once. */
const maxReads = 4

/** When content is proven: on its first reading by a process, on every one, or never. */
export type ProofPolicy = 'first' | 'always' | 'never'

export interface ProofsOptions {
  readonly policy: ProofPolicy
  /** Called for a file that was read whole and found wrong. */
  readonly onDamage: (digest: Digest, version: string) => Promise<void>
}

export class Proofs {
  readonly #policy: ProofPolicy
  readonly #onDamage: (digest: Digest, version: string) => Promise<void>
  readonly #versions = recent<Digest, string>(maxProofs)
  /** Files whose bytes could not be read, though they were right once, maybe. */
  readonly #doubts = recent<Digest, string>(maxDoubts)
  readonly #running = new Map<string, Proof>()
  readonly #limit: LimitFunction = pLimit(maxReads)

  constructor(options: ProofsOptions) {
    this.#policy = options.policy
    this.#onDamage = options.onDamage
  }

  /** Whether the file with that version has been found right. */
  has(digest: Digest, version: string): boolean {
    return this.#versions.get(digest) === version
  }

  /** Whether the file with that version may be served as it lies. */
  trusts(digest: Digest, version: string): boolean {
    if (this.doubts(digest, version)) return false
    return this.#policy === 'never' || (this.#policy === 'first' && this.has(digest, version))
  }

  /** Whether nobody should be promised the file's bytes before they were all read. */
  doubts(digest: Digest, version: string): boolean {
    return this.#doubts.get(digest) === version
  }

  add(digest: Digest, version: string): void {
    this.#versions.set(digest, version)
    this.#doubts.delete(digest)
  }

  /** Notes that the file's bytes could not be read. Returns whether that is news. */
  doubt(digest: Digest, version: string): boolean {
    const isNews = !this.doubts(digest, version)
    this.#versions.delete(digest)
    this.#doubts.set(digest, version)
    return isNews
  }

  /**
   * Takes part in the one proof of the file with that version: it begins with the first who does, and ends when the last
   * has left. `undefined` where `open` opens another file.
   */
  async join(digest: Digest, version: string, open: () => Promise<OpenFile>): Promise<ProofShare | undefined> {
    const key = `${digest}@${version}`
    let proof = this.#running.get(key)
    if (proof === undefined) {
      proof = new Proof(open, version)
      this.#running.set(key, proof)
      const started = proof
      const forget = (): void => {
        if (this.#running.get(key) === started) this.#running.delete(key)
      }
      started.onAbandon(forget)
      started.run(async (file) => await this.#prove(digest, file, started.signal)).then(forget, forget)
    }
    const share = proof.share()
    try {
      if (await proof.isOpen()) return share
    } catch (error) {
      share.leave()
      throw error
    }
    share.leave()
    return undefined
  }

  /** The file is open already: what its path names while it waits for its turn is of no importance. */
  async #prove(digest: Digest, file: OpenFile, signal: AbortSignal): Promise<boolean> {
    const read = async (): Promise<Digest> => {
      signal.throwIfAborted()
      return await digestOfStream(file, algorithmOf(digest))
    }
    if (!(await this.judge(digest, file.version, await waitFor(this.#limit(read), signal)))) return false
    this.add(digest, file.version)
    return true
  }

  /** Whether a file is right that was read whole and has the digest `found`. It is not remembered to be. */
  async judge(digest: Digest, version: string, found: Digest): Promise<boolean> {
    if (found === digest) {
      this.#doubts.delete(digest)
      return true
    }
    this.#versions.delete(digest)
    await this.#onDamage(digest, version)
    return false
  }
}

/** One reader's part in a proof. */
export interface ProofShare {
  /** Whether the file is right. @throws what reading it failed with; the reason of `signal` */
  verdict(signal: AbortSignal | undefined): Promise<boolean>
  /** Idempotent; to be called by everyone, in the end. */
  leave(): void
}

/** One reading of a file, for all who want to know whether it is right. */
class Proof {
  readonly #leaving = new AbortController()
  readonly #verdict = deferred<boolean>()
  readonly #file: Promise<OpenFile>
  readonly #version: string
  #readers = 0

  constructor(open: () => Promise<OpenFile>, version: string) {
    this.#file = open()
    this.#file.catch(() => {}) // seen by `isOpen` and `run`
    this.#version = version
  }

  /** Fires when nobody waits any more. */
  get signal(): AbortSignal {
    return this.#leaving.signal
  }

  onAbandon(listener: () => void): void {
    this.signal.addEventListener('abort', listener, { once: true })
  }

  async isOpen(): Promise<boolean> {
    return (await this.#file).version === this.#version
  }

  /** Never fails: whoever waits for the verdict sees it. */
  async run(prove: (file: OpenFile) => Promise<boolean>): Promise<void> {
    try {
      await using file = await this.#file
      if (file.version === this.#version) this.#verdict.resolve(await prove(file))
    } catch (error) {
      this.#verdict.reject(error)
    }
  }

  share(): ProofShare {
    this.#readers++
    let isHere = true
    return {
      verdict: async (signal) => await waitFor(this.#verdict.promise, signal),
      leave: () => {
        if (!isHere) return
        isHere = false
        this.#readers--
        if (this.#readers === 0) this.#leaving.abort()
      },
    }
  }
}

export interface ProvenStreamOptions {
  readonly digest: Digest
  /** Bytes that `file` was opened for. */
  readonly length: number
  readonly proof: ProofShare
  readonly signal?: AbortSignal | undefined
  /** Called where the file is wrong, before the stream fails. */
  readonly onWrong?: (() => Promise<void>) | undefined
}

/**
 * A file's bytes as they come, the last chunk when the file is proven. Where it is wrong, the stream fails with
 * DigestMismatchError instead. Owns the file and its share in the proof.
 */
export class ProvenStream implements ByteStream {
  readonly #file: OpenFile
  readonly #options: ProvenStreamOptions
  readonly #chunks: AsyncGenerator<Uint8Array, void>
  readonly #left = deferred<never>()

  constructor(file: OpenFile, options: ProvenStreamOptions) {
    this.#file = file
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
    this.#left.reject(new Error('the reader has left')) // a `next` that waits for the proof is not waited for
    this.#options.proof.leave()
    await this.#chunks.return()
    await this.#file[Symbol.asyncDispose]()
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    const { length, proof } = this.#options
    let count = 0
    try {
      for await (const chunk of this.#file) {
        count += chunk.byteLength
        if (count === length) await this.#check()
        yield chunk
      }
    } finally {
      proof.leave()
    }
  }

  async #check(): Promise<void> {
    const { digest, proof, signal, onWrong } = this.#options
    if (await Promise.race([proof.verdict(signal), this.#left.promise])) return
    await onWrong?.()
    throw new DigestMismatchError(digest)
  }
}

// Many small chunks, few large writes: while one write runs, the next is gathered.
import type { BufferPool } from '../drivers/buffer-pool.ts'
import type { FileWriter } from '../drivers/driver.ts'

/** Bytes that are worth a write of their own. */
const batchSize = 256 * 1024

/** Milliseconds that fewer bytes wait for more: readers follow what is written, and a slow source must not starve them. */
const patience = 5

/** Copies what it is given. End it with `finish`, also after a failure. */
export class BatchedWriter {
  readonly #writer: FileWriter
  readonly #pool: BufferPool
  readonly #onWritten: (() => void) | undefined
  #filling: Buffer | undefined
  #resting: Buffer | undefined
  #used = 0
  #writing: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(writer: FileWriter, pool: BufferPool, onWritten?: () => void) {
    this.#writer = writer
    this.#pool = pool
    this.#onWritten = onWritten
  }

  /** Resolves when the chunk may be reused; at that time it need not be written. */
  async add(chunk: Uint8Array): Promise<void> {
    let taken = 0
    while (taken < chunk.byteLength) {
      this.#filling ??= this.#resting ?? this.#pool.take(Infinity)
      if (this.#filling === this.#resting) this.#resting = undefined
      const part = chunk.subarray(taken, taken + this.#filling.byteLength - this.#used)
      this.#filling.set(part, this.#used)
      this.#used += part.byteLength
      taken += part.byteLength
      if (this.#used === this.#filling.byteLength) await this.#writing
      this.#throwFailure()
      this.#proceed()
    }
  }

  /** Writes what is left, and gives back what it holds. @throws what a write failed with */
  async finish(): Promise<void> {
    try {
      while (this.#failure === undefined && (this.#writing !== undefined || this.#used > 0)) {
        if (this.#writing === undefined) this.#write()
        await this.#writing
      }
      this.#throwFailure()
    } finally {
      clearTimeout(this.#timer)
      await this.#writing
      for (const buffer of [this.#filling, this.#resting]) if (buffer !== undefined) this.#pool.give(buffer)
      this.#filling = undefined
      this.#resting = undefined
    }
  }

  /** Starts the next write where there is enough for one, else sees to it that what is there does not wait for long. */
  #proceed(): void {
    if (this.#writing !== undefined || this.#filling === undefined || this.#used === 0) return
    if (this.#used >= Math.min(batchSize, this.#filling.byteLength)) this.#write()
    else {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        if (this.#writing === undefined && this.#failure === undefined) this.#write()
      }, patience)
    }
  }

  #write(): void {
    const buffer = this.#filling
    if (buffer === undefined || this.#used === 0) return
    const bytes = buffer.subarray(0, this.#used)
    this.#filling = undefined
    this.#used = 0
    this.#writing = this.#run(bytes, buffer)
  }

  async #run(bytes: Buffer, buffer: Buffer): Promise<void> {
    try {
      await this.#writer.write(bytes)
      this.#onWritten?.()
    } catch (error) {
      this.#failure = { error }
    }
    this.#writing = undefined
    if (this.#resting === undefined) this.#resting = buffer
    else this.#pool.give(buffer)
    if (this.#failure === undefined) this.#proceed()
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}

// Blocks of files, in memory for as long as somebody reads them: a thousand who read one file at once share them.
import { BufferPool, type Tier } from './buffer-pool.ts'

export interface SharedBlocksOptions {
  /** Bytes of a block. */
  readonly size: number
  /** Bytes of all blocks at once. */
  readonly budget: number
  /** Bytes of blocks that are kept when no file is read that they belong to. */
  readonly kept: number
  /**
   * Readers of a file from which on its blocks stay when nobody holds them. Fewer seldom meet, and are faster through the same
   * few buffers, which the processor has at hand.
   */
  readonly crowd: number
}

/** Reads a file from `position` on until `into` is full or the file ends. @throws what the read fails with */
export type ReadFrom = (into: Buffer, position: number) => Promise<number>

/** Bytes that are lent: they stay as they are until `end` is called, once. */
export interface Lease {
  /** Those from the asked position on; none: the file ends there. */
  readonly bytes: Promise<Uint8Array>
  /** Whether there is room for a reader to hold the next bytes too, while these leave. */
  readonly isPlentiful: boolean
  readonly end: () => void
}

/** Of a file that is open. */
export interface FileState {
  readonly version: string
  readonly size: number
}

interface Block {
  readonly buffer: Buffer
  /** Bytes that the file had for it when it was read. */
  readonly length: number
  /** Of the file, as its reader opened it. */
  readonly version: string
  readonly size: number
  readonly filled: Promise<number>
  holders: number
}

interface SharedFile {
  readonly blocks: Map<number, Block>
  readers: number
  /** The block that a few bytes were wanted of last. */
  wanted: number | undefined
}

export class SharedBlocks {
  readonly #options: SharedBlocksOptions
  readonly #pool: BufferPool
  /** What needs no more than one of the pool's buffers is not shared. */
  readonly #small: number
  readonly #files = new Map<string, SharedFile>()
  /** Blocks that nobody holds while others still read their files, oldest first. */
  readonly #resting = new Map<Block, () => void>()
  readonly #spare: Buffer[] = []
  #allocated = 0

  /** `tiers`: of buffers that are not shared, for small files, for a few bytes of others, and for all that there is no block for. */
  constructor(options: SharedBlocksOptions, tiers: readonly Tier[]) {
    this.#options = options
    this.#pool = new BufferPool(tiers)
    this.#small = Math.max(...tiers.map(({ size }) => size))
  }

  /**
   * Joins the readers of a file. `identity` is another one for any other file; `version` changes whenever it is written to.
   * One that has another size now has grown, and what was read of it still holds; one of the same size was changed where it
   * is, and nothing of it is shared with those who opened it before. Whoever joins also leaves.
   */
  join(identity: string, { version, size }: FileState, read: ReadFrom): SharedReader {
    const file = this.#files.get(identity) ?? { blocks: new Map(), readers: 0, wanted: undefined }
    this.#files.set(identity, file)
    file.readers += 1
    let hasLeft = false
    return {
      take: (at, end) => this.#take(file, { version, size, read, at, end }),
      read: (at, end) => this.#read(read, at, end),
      leave: () => {
        if (hasLeft) return
        hasLeft = true
        file.readers -= 1
        if (file.readers > 0) return
        this.#files.delete(identity)
        for (const [index, block] of file.blocks) this.#forget(file, index, block)
      },
    }
  }

  #take(file: SharedFile, wanted: FileState & { read: ReadFrom; at: number; end: number }): Lease {
    const { size: blockSize, crowd } = this.#options
    const { version, size, read, at, end } = wanted
    const index = Math.floor(at / blockSize)
    const start = index * blockSize
    const length = Math.min(blockSize, size - start)
    const known = file.blocks.get(index)
    const holds = known !== undefined && (known.version === version || known.size !== size)
    const isHere = holds && known.length >= Math.min(length, end - start)
    // A little is worth a block where many read the file, and the last of them who wanted a little wanted it of the same block.
    const isLittle = end - at <= this.#small
    const isWorthIt = !isLittle || (file.readers >= crowd && size > this.#small && file.wanted === index)
    if (isLittle) file.wanted = index
    let block = isHere ? known : undefined
    if (isWorthIt && length > 0) block ??= this.#begin(file, index, { version, size, length, read })
    if (block === undefined) return this.#read(read, at, end)
    return this.#lend(file, index, block, { from: at - start, to: end - start })
  }

  #read(read: ReadFrom, at: number, end: number): Lease {
    const buffer = this.#pool.take(end - at)
    const bytes = read(buffer.subarray(0, Math.min(buffer.byteLength, end - at)), at)
    return {
      bytes: bytes.then((count) => buffer.subarray(0, count)),
      isPlentiful: false,
      end: () => this.#pool.give(buffer),
    }
  }

  /** Reads a block; `undefined` where there is no room, or somebody holds an older reading of it. */
  #begin(file: SharedFile, index: number, wanted: FileState & { length: number; read: ReadFrom }): Block | undefined {
    const { version, size, length, read } = wanted
    const older = file.blocks.get(index)
    if (older !== undefined) {
      if (older.holders > 0) return undefined
      this.#forget(file, index, older)
    }
    const buffer = this.#room()
    if (buffer === undefined) return undefined
    const filled = read(buffer.subarray(0, length), index * this.#options.size)
    const block: Block = { buffer, length, version, size, filled, holders: 0 }
    file.blocks.set(index, block)
    // Whoever holds it hears of it; whoever comes later tries anew.
    filled.catch(() => {
      if (file.blocks.get(index) === block) file.blocks.delete(index)
    })
    return block
  }

  #lend(file: SharedFile, index: number, block: Block, { from, to }: { from: number; to: number }): Lease {
    block.holders += 1
    this.#resting.delete(block)
    return {
      bytes: block.filled.then((count) => block.buffer.subarray(Math.min(from, count), Math.min(to, count))),
      isPlentiful: true,
      end: () => {
        block.holders -= 1
        if (block.holders > 0) return
        const isKnown = file.blocks.get(index) === block
        if (isKnown && file.readers >= this.#options.crowd)
          this.#resting.set(block, () => this.#forget(file, index, block))
        else this.#forget(file, index, block)
      },
    }
  }

  #room(): Buffer | undefined {
    const { size, budget } = this.#options
    if (this.#spare.length === 0 && this.#allocated + size > budget) {
      const [oldest] = this.#resting.values()
      oldest?.()
    }
    const spare = this.#spare.pop()
    if (spare !== undefined || this.#allocated + size > budget) return spare
    this.#allocated += size
    return Buffer.allocUnsafeSlow(size)
  }

  /** The block is nobody's: its bytes may be overwritten. */
  #forget(file: SharedFile, index: number, block: Block): void {
    this.#resting.delete(block)
    if (file.blocks.get(index) === block) file.blocks.delete(index)
    const { size, kept } = this.#options
    if ((this.#spare.length + 1) * size <= kept) this.#spare.push(block.buffer)
    else this.#allocated -= size
  }
}

/** One reader of a file. */
export interface SharedReader {
  /** Bytes from `at` on, of those before `end`. */
  take(at: number, end: number): Lease
  /** As `take`: a few bytes that are shared with nobody. */
  read(at: number, end: number): Lease
  /** When it holds no lease and no read of its own is under way. Idempotent. */
  leave(): void
}

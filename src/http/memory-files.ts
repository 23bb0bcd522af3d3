// Files in memory (memfd_create(2)) with what is sent again and again, so that the system does not have to copy it each time.
import { closeSync, writeFileSync } from 'node:fs'
import type { MemoryFile, MemoryFiles } from '../bytes/memory-file.ts'
import type { Logger } from '../telemetry/logger.ts'
import { sentBySystem, type LateSendfile } from './sendfile.ts'

/** Milliseconds without another try where none could be made: descriptors may be lacking for a moment, or memfd_create for ever. */
const rest: number = 60_000

/** Makes none before sendfile is loaded. Closes those that are left when it is disposed. */
export class SentMemoryFiles implements MemoryFiles, Disposable {
  readonly #sendfile: Pick<LateSendfile, 'loaded'>
  readonly #logger: Logger
  readonly #clock: () => number
  readonly #open = new Set<MemoryFile>()
  #restsUntil = -Infinity
  #hasFailed = false

  constructor(
    sendfile: Pick<LateSendfile, 'loaded'>,
    logger: Logger,
    clock: () => number = (): number => performance.now(),
  ) {
    this.#sendfile = sendfile
    this.#logger = logger
    this.#clock = clock
  }

  create(bytes: Uint8Array): MemoryFile | undefined {
    const sendfile = this.#sendfile.loaded
    if (sendfile === undefined || bytes.byteLength < sentBySystem || this.#clock() < this.#restsUntil) return undefined
    try {
      const file = new DescriptorFile(sendfile.createMemoryFile(), () => this.#open.delete(file))
      this.#open.add(file)
      file.write(bytes)
      this.#hasFailed = false
      return file
    } catch (error) {
      this.#restsUntil = this.#clock() + rest
      if (!this.#hasFailed) this.#logger.info({ error }, 'blobs in memory are sent without sendfile')
      this.#hasFailed = true
      return undefined
    }
  }

  [Symbol.dispose](): void {
    this.#restsUntil = Infinity
    for (const file of this.#open) file[Symbol.dispose]()
  }
}

class DescriptorFile implements MemoryFile {
  readonly isInMemory = true
  readonly #onClosed: () => void
  #fd: number

  /** Owns the descriptor. */
  constructor(fd: number, onClosed: () => void) {
    this.#fd = fd
    this.#onClosed = onClosed
  }

  /** -1 once it is closed: the number may be another file's by then. */
  get fd(): number {
    return this.#fd
  }

  /** Closes it where it fails. */
  write(bytes: Uint8Array): void {
    try {
      writeFileSync(this.#fd, bytes) // where one call takes less, in several
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd === -1) return
    closeSync(this.#fd)
    this.#fd = -1
    this.#onClosed()
  }
}

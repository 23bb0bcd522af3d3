// Bytes in motion, as every room hands them to the next.

/**
 * A sequence of bytes that is read once. A chunk is valid until the next one is asked for: whoever keeps it longer
 * copies it, so that a source may reuse its buffers. Who receives a stream owns it: iterate to its end, break out of the
 * loop, or dispose it; each of the three releases what it holds. Node's `Readable` is one.
 */
export interface ByteStream extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /**
   * Instead of iterating: hands all of its bytes to `target`, and lets the system take them out of the file that they lie in.
   * Not there where they are in none, or somebody is to look at them. @throws as iterating does, and what the target throws
   */
  readonly transferTo?: ((target: ByteTarget) => Promise<void>) | undefined
  /**
   * The same bytes once more, in a stream of its own, without a wait; `undefined` where they are kept no longer. Not there where
   * they are not kept at all, or somebody is to be asked, or told, each time.
   */
  readonly again?: (() => ByteStream | undefined) | undefined
}

/** A file that the system can be asked to send. */
export interface SendableFile {
  readonly fd: number
  /** Its bytes lie in memory, so that nobody has to wait for a disk. */
  readonly isInMemory: boolean
}

/** Where bytes go to, which the system can hand on without anybody reading them. */
export interface ByteTarget {
  /**
   * Hands on bytes of an open file. Resolves with how many: fewer than `length` where no more are taken for now, where the
   * file ends and where it cannot be done; whoever reads and writes them instead waits, or sees why.
   */
  sendFile(file: SendableFile, position: number, length: number): Promise<number>
  /** Resolves when the bytes have been taken. */
  write(bytes: Uint8Array): Promise<void>
}

/** What a stream around another one transfers with, where that can. */
export function transferAround(
  stream: ByteStream,
  around: (transfer: () => Promise<void>) => Promise<void>,
): ByteStream['transferTo'] {
  if (stream.transferTo === undefined) return undefined
  return async (target) => await around(async () => await stream.transferTo?.(target))
}

/** A stream over bytes at hand, for whoever takes them in one go. */
export class WholeStream implements ByteStream {
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    yield this.bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** The same bytes; `onEnd` is called when they have all been taken, and not where reading ends before. */
export class ToldStream implements ByteStream {
  readonly transferTo: ByteStream['transferTo']
  readonly #body: ByteStream
  readonly #onEnd: () => void

  constructor(body: ByteStream, onEnd: () => void) {
    this.#body = body
    this.#onEnd = onEnd
    this.transferTo = transferAround(body, async (transfer) => {
      await transfer()
      onEnd()
    })
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    yield* this.#body
    this.#onEnd()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#body[Symbol.asyncDispose]()
  }
}

export class TooLargeError extends Error {
  override readonly name = 'TooLargeError'
  readonly limit: number

  constructor(limit: number) {
    super(`more than ${limit} bytes`)
    this.limit = limit
  }
}

/**
 * Reads a stream into memory.
 * @throws TooLargeError as soon as more than `limit` bytes have come; the stream is then released
 */
export async function collect(source: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of source) {
    size += chunk.byteLength
    if (size > limit) throw new TooLargeError(limit)
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks, size)
}

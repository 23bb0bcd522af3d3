// Files that the medium does not give out: EIO of a dying disk, ESTALE of a file server, EACCES of a wrong owner.
import { transferAround, type ByteStream } from '../bytes/stream.ts'
import { DriverError, type OpenFile } from '../drivers/driver.ts'
import { RegistryError } from '../oci/error.ts'
import { UnreadableError } from '../registry/unreadable-error.ts'

/** What a process has run out of: the medium is not to blame, and whoever went elsewhere would fail there too. */
const exhaustion: readonly string[] = ['EMFILE', 'ENFILE', 'ENOMEM']

/** What to throw where a reading failed: an UnreadableError where the medium did, UNAVAILABLE where this process did. */
export function unreadable(what: string, error: unknown): unknown {
  if (!(error instanceof DriverError)) return error
  if (exhaustion.includes(error.code)) {
    const detail = 'this server has no file descriptors or memory left for the moment'
    return new RegistryError('UNAVAILABLE', detail, { cause: error, retryAfter: 1 })
  }
  return new UnreadableError(`${what} cannot be read: ${error.message}`, { cause: error })
}

/** An open file that tells when its bytes cannot be read. */
export class WatchedFile implements OpenFile {
  readonly size: number
  readonly version: string
  readonly transferTo: ByteStream['transferTo']
  readonly #file: OpenFile
  readonly #onFailure: (error: unknown) => void

  constructor(file: OpenFile, onFailure: (error: unknown) => void) {
    this.size = file.size
    this.version = file.version
    this.#file = file
    this.#onFailure = onFailure
    this.transferTo = transferAround(file, async (transfer) => {
      try {
        await transfer()
      } catch (error) {
        if (error instanceof DriverError) onFailure(error) // what the target fails with says nothing of the file
        throw error
      }
    })
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void> {
    const chunks = this.#file[Symbol.asyncIterator]()
    const next = async (): Promise<IteratorResult<Uint8Array, void>> => {
      try {
        return await chunks.next()
      } catch (error) {
        this.#onFailure(error)
        throw error
      }
    }
    const leave = async (): Promise<IteratorResult<Uint8Array, void>> => {
      await this[Symbol.asyncDispose]()
      return { done: true, value: undefined }
    }
    return { next, return: leave }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]()
  }
}

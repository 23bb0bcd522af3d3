// Blobs of an upstream's repository: linked here, else stored and proven, else by a fill (DESIGN: «A blob»).
import type { Coalescer } from '../async/coalesce.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { BlobSource, OpenBlob, OpenOptions } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { ifReadable, isMissing, worse } from '../registry/unreadable-error.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamBlobs } from '../registry/upstream-source.ts'
import type { UsageLog } from '../registry/usage.ts'
import type { Fill } from './fill.ts'
import type { Fills } from './fills.ts'
import { clientError } from './outcome.ts'
import type { NamedBlobs } from './proof.ts'
import type { StorageTrouble } from './storage-trouble.ts'

/** A stored blob that is linked here may turn out damaged when it is opened, and then be stored by another process. */
const maxAttempts = 3

export interface ProxyBlobsOptions {
  readonly local: WritableRepository
  /** Absent where we never dial out. */
  readonly remote: UpstreamBlobs | undefined
  readonly host: string
  readonly content: ContentStore
  readonly fills: Fills
  readonly named: NamedBlobs
  /**
   * Whether a manifest that names a blob is proof of a right to it. Not where some of what is stored is for some clients
   * only: who can have a manifest of his own copied might name another's blob in it.
   */
  readonly isNamingProof: boolean
  readonly trouble: StorageTrouble
  readonly usage: UsageLog | undefined
  /** The running questions to upstreams, and searches for proof, of every repository. */
  readonly stats: Coalescer<Descriptor>
  readonly searches: Coalescer<boolean>
  /** Ends them, at shutdown. */
  readonly signal: AbortSignal
}

export class ProxyBlobs implements BlobSource {
  readonly #options: ProxyBlobsOptions

  constructor(options: ProxyBlobsOptions) {
    this.#options = options
  }

  async stat(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    const { local, remote, usage } = this.#options
    const linked = await ifReadable(local.blobs.stat(digest, { signal: options?.signal }))
    if (linked !== undefined) {
      usage?.used(local.name, digest)
      return linked
    }
    try {
      const revealed = await this.#reveal(digest, options)
      if (revealed !== undefined) return revealed
      if (remote === undefined) throw this.#notCached(digest)
      return await this.#statRemote(remote, digest, options)
    } catch (error) {
      throw clientError(error)
    }
  }

  async open(digest: Digest, options?: OpenOptions): Promise<OpenBlob> {
    const { local, content, usage } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        const linked = await local.blobs.open(digest, options)
        usage?.used(local.name, digest)
        return linked
      } catch (missing) {
        if (!isMissing(missing) || attempt === maxAttempts) throw missing
        try {
          const fill = await this.#obtainFill(digest, options, !isAbsence(missing))
          if (fill !== undefined) {
            noteFrom(options?.trace, 'fill')
            const opened = await fill.follow(options).catch((error: unknown) => {
              // What another repository's upstream does not have, or cannot give, ours may.
              if (fill.owner === local.name || attempt > 1 || !isOfSource(error)) throw error
            })
            if (opened === undefined) continue
            return opened
          }
          const stored = await ifReadable(content.open(digest, options)) // also where no link could be written
          if (stored !== undefined) return stored
        } catch (error) {
          throw clientError(worse(missing, error))
        }
      }
    }
  }

  /**
   * A fill of the blob, running or new; `undefined` where it is stored. Either way this repository has a right to it. What
   * is stored and cannot be read is filled anew.
   */
  async #obtainFill(
    digest: Digest,
    options: CallOptions | undefined,
    isUnreadable: boolean,
  ): Promise<Fill | undefined> {
    const { fills, local, remote, host } = this.#options
    for (;;) {
      const running = fills.find(digest)
      if (running?.isFor(local.name) === true) return running
      if (running !== undefined) {
        await this.#prove(digest, options)
        if (fills.find(digest) !== running) continue // it has ended meanwhile
        running.addRepository(local.name, local.blobs)
        return running
      }
      if (!isUnreadable && (await this.#reveal(digest, options)) !== undefined) return undefined
      if (fills.find(digest) !== undefined) continue // others have started one meanwhile
      if (remote === undefined) throw this.#notCached(digest)
      return fills.start(digest, { from: remote, host, repository: local.name, blobs: local.blobs })
    }
  }

  /** Links a blob that is stored but not visible here, after proof: its bytes are not fetched again. */
  async #reveal(digest: Digest, options: CallOptions | undefined): Promise<Descriptor | undefined> {
    const { content, local, trouble } = this.#options
    const stored = await ifReadable(content.find(digest, options))
    if (stored === undefined) return undefined
    await this.#prove(digest, options)
    try {
      return await ifReadable(local.blobs.link(digest, options))
    } catch (error) {
      options?.signal?.throwIfAborted()
      if (error instanceof RegistryError) throw error
      trouble.failed(error, { repository: local.name, digest })
      return stored // the proof is the right; the link only saves the next one
    }
  }

  /** @throws RegistryError BLOB_UNKNOWN, UpstreamError: this repository has no claim to the blob, or cannot show it */
  async #prove(digest: Digest, options: CallOptions | undefined): Promise<void> {
    const { local, named, isNamingProof, remote, searches, signal } = this.#options
    if (isNamingProof && (await named.isRemembered(local, digest))) return
    try {
      if (remote === undefined) throw this.#notCached(digest)
      await this.#statRemote(remote, digest, options)
    } catch (error) {
      if (!isNamingProof || (!isAbsence(error) && !(error instanceof UpstreamError))) throw error
      const search = async (): Promise<boolean> => await named.search(local, digest, signal)
      if (!(await searches.run(`${local.name}@${digest}`, search, options?.signal))) throw error
    }
  }

  async #statRemote(remote: UpstreamBlobs, digest: Digest, options: CallOptions | undefined): Promise<Descriptor> {
    const { local, stats, signal } = this.#options
    noteFrom(options?.trace, 'upstream')
    const stat = async (): Promise<Descriptor> => await remote.stat(digest, { signal })
    return await stats.run(`${local.name}@${digest}`, stat, options?.signal)
  }

  #notCached(digest: Digest): RegistryError {
    return new RegistryError('BLOB_UNKNOWN', `${digest} is not here, and this registry is offline`)
  }
}

/** Whether a fill has failed for what its upstream said, or did not say. */
function isOfSource(error: unknown): boolean {
  return error instanceof UpstreamError || isAbsence(error)
}

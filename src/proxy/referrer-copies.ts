// Referrers are fetched before anyone asks for them, so that signatures and SBOMs are here when the upstream is not.
import pLimit from 'p-limit'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import { ManifestError, maxManifestSize, parseManifest } from '../oci/manifest.ts'
import { isForeignLayer, isManifestType } from '../oci/media-type.ts'
import type { BlobSource } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ProxyManifests } from './manifests.ts'

/** Manifests that are asked for on behalf of one subject; the children of an index count, and those that are not there. */
const maxManifests = 50

/** Blobs are fetched for a manifest whose blobs have no more bytes than this. */
const maxBlobs = 8 * 1024 * 1024

/** Subjects whose referrers are fetched at the same time, and those that may wait for it. */
const maxRunning = 2
const maxWaiting = 1000

export interface ReferrerCopiesOptions {
  readonly logger: Logger
  /** Ends them, at shutdown. */
  readonly signal: AbortSignal
}

export interface CopyOrder {
  readonly referrers: readonly Descriptor[]
  readonly local: WritableRepository
  readonly manifests: Pick<ProxyManifests, 'obtain'>
  readonly blobs: BlobSource
}

/** The running copies of every repository. Clients that ask for the same things meanwhile share their fetches and fills. */
export class ReferrerCopies implements AsyncDisposable {
  readonly #options: ReferrerCopiesOptions
  readonly #limit = pLimit(maxRunning)
  readonly #running = new Map<string, Promise<void>>()

  constructor(options: ReferrerCopiesOptions) {
    this.#options = options
  }

  /** Returns at once. What cannot be had now is left for another time. */
  start(subject: Digest, order: CopyOrder): void {
    const key = `${order.local.name}@${subject}`
    if (order.referrers.length === 0 || this.#running.has(key) || this.#running.size >= maxWaiting) return
    const run = this.#limit(async () => await this.#run(subject, order)).finally(() => this.#running.delete(key))
    this.#running.set(key, run)
  }

  async #run(subject: Digest, order: CopyOrder): Promise<void> {
    const { logger } = this.#options
    const fields = { repository: order.local.name, subject }
    const onSkip = (digest: Digest, error: unknown): void =>
      logger.debug({ ...fields, digest, error }, 'referrer left out')
    try {
      logger.debug({ ...fields, manifests: await this.#copyAll(order, onSkip) }, 'referrers copied')
    } catch (error) {
      logger.debug({ ...fields, error }, 'referrers not copied')
    }
  }

  async #copyAll(order: CopyOrder, onSkip: (digest: Digest, error: unknown) => void): Promise<number> {
    const wanted = [...order.referrers]
    let asked = 0
    let copied = 0
    for (const { digest, size } of wanted) {
      if (size > maxManifestSize) continue
      if (asked === maxManifests) break
      asked += 1
      this.#options.signal.throwIfAborted()
      try {
        wanted.push(...(await this.#copy(digest, order)))
        copied += 1
      } catch (error) {
        if (!isOfOneOnly(error)) throw error // the others are no easier to get
        onSkip(digest, error)
      }
    }
    return copied
  }

  /** @returns the children of an index */
  async #copy(digest: Digest, { local, manifests, blobs }: CopyOrder): Promise<Descriptor[]> {
    const { signal } = this.#options
    const manifest = parseManifest((await manifests.obtain(digest, { signal })).bytes)
    const ours = manifest.blobs.filter(({ mediaType }) => !isForeignLayer(mediaType))
    if (ours.reduce((sum, { size }) => sum + size, 0) <= maxBlobs) {
      for (const blob of ours) await this.#copyBlob(blob.digest, local, blobs)
    }
    return manifest.manifests.filter(({ mediaType }) => isManifestType(mediaType))
  }

  async #copyBlob(digest: Digest, local: WritableRepository, blobs: BlobSource): Promise<void> {
    const { signal } = this.#options
    try {
      await local.blobs.stat(digest, { signal })
      return
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
    const { body } = await blobs.open(digest, { signal })
    for await (const _ of body); // follows the fill to its end
  }

  /** Waits until those that `signal` has ended are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.values())
  }
}

/** Whether a failure says nothing of other manifests: this one is absent, private or damaged, and the upstream answers. */
function isOfOneOnly(error: unknown): boolean {
  const reason = error instanceof RegistryError && error.cause instanceof UpstreamError ? error.cause : error
  if (reason instanceof UpstreamError) return reason.failure === 'denied' || reason.failure === 'invalid'
  return reason instanceof RegistryError || reason instanceof ManifestError
}

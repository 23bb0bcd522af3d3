// The running fills: at most one per digest, whoever asks and from whichever repository (P4).
import pLimit from 'p-limit'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { BlobStore } from '../registry/store.ts'
import type { UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Fill } from './fill.ts'

/** Fills that transfer at the same time; each keeps up to 2 MiB in memory. The next ones wait for a place. */
const maxRunning = 64

export interface FillsOptions {
  readonly content: ContentStore
  readonly logger: Logger
  /** Ends every fill, at shutdown. */
  readonly signal: AbortSignal
}

export interface FillOrder {
  readonly from: UpstreamBlobs
  readonly host: string
  /** Where the blob will be visible. */
  readonly repository: string
  readonly blobs: BlobStore
}

export class Fills implements AsyncDisposable {
  readonly #options: FillsOptions
  readonly #running = new Map<Digest, Fill>()
  readonly #ends = new Set<Promise<void>>()
  readonly #limit = pLimit(maxRunning)

  constructor(options: FillsOptions) {
    this.#options = options
  }

  find(digest: Digest): Fill | undefined {
    return this.#running.get(digest)
  }

  /** Starts a fill; the caller has seen that none runs for this digest. */
  start(digest: Digest, order: FillOrder): Fill {
    const fill = new Fill({
      digest,
      from: order.from,
      host: order.host,
      content: this.#options.content,
      signal: this.#options.signal,
      onEnd: () => this.#running.delete(digest),
      logger: this.#options.logger,
    })
    fill.addRepository(order.repository, order.blobs)
    this.#running.set(digest, fill)
    const end = this.#finish(fill, order).finally(() => this.#ends.delete(end))
    this.#ends.add(end)
    return fill
  }

  async #finish(fill: Fill, order: FillOrder): Promise<void> {
    const startedAt = performance.now()
    const fields = { digest: fill.digest, repository: order.repository, host: order.host }
    try {
      const { size } = await this.#limit(async () => await fill.run())
      const ms = Math.round(performance.now() - startedAt)
      this.#options.logger.info({ ...fields, bytes: size, ms }, 'fill stored')
    } catch (error) {
      this.#options.logger.warn({ ...fields, error }, 'fill failed')
    }
  }

  /** Waits until the fills that `signal` has ended are gone with all they held. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ends)
  }
}

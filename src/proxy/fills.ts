// The running fills: at most one per digest, whoever asks and from whichever repository (P4).
import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { CacheLog } from '../registry/cache-log.ts'
import type { ContentStore } from '../registry/registry.ts'
import type { BlobStore } from '../registry/store.ts'
import type { UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Fill } from './fill.ts'
import type { StorageTrouble } from './storage-trouble.ts'
import type { Places, TransferSettings } from './transfer.ts'
import { Turns } from './turns.ts'

/**
 * Fills that transfer at the same time; each keeps up to 2 MiB in memory. The next ones wait for a place. An upstream that
 * hangs may hold them all, but for the few that each has for itself.
 */
const running = { most: 64, own: 8 }

/** Fills with several connections at once: each connection keeps up to 8 MiB in memory. */
const maxParallel = 4

/** Blobs of which is remembered that they came wrong, so that another source is asked first. */
const rememberedWrong = 1000

export interface FillsOptions {
  readonly content: ContentStore
  readonly settings: TransferSettings
  readonly trouble: StorageTrouble
  readonly cacheLog: CacheLog | undefined
  readonly logger: Logger
  /** Ends every fill, at shutdown. */
  readonly signal: AbortSignal
}

/** Counts since the start, and what runs now. */
export interface FillCounts {
  readonly running: number
  /** Answers that follow one of them. */
  readonly followers: number
  readonly stored: number
  /** Passed through to clients where storage failed. */
  readonly passedThrough: number
  readonly failed: number
  /** Failed because the bytes that came were not the blob's. */
  readonly wrong: number
  /** Transfers that broke and were asked for again. */
  readonly resumes: number
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
  readonly #turns = new Turns(running)
  readonly #parallel = places(maxParallel)
  /** How often a blob came wrong. */
  readonly #wrong = new LRUCache<Digest, number>({ max: rememberedWrong })
  /** Blobs whose last fill came wrong, maybe by what was left of another one. */
  readonly #suspicious = new LRUCache<Digest, true>({ max: rememberedWrong })
  readonly #counts = { stored: 0, passedThrough: 0, failed: 0, wrong: 0, resumes: 0 }

  constructor(options: FillsOptions) {
    this.#options = options
  }

  counts(): FillCounts {
    let followers = 0
    for (const fill of this.#running.values()) followers += fill.readers
    return { ...this.#counts, running: this.#running.size, followers }
  }

  find(digest: Digest): Fill | undefined {
    return this.#running.get(digest)
  }

  /** Starts a fill; the caller has seen that none runs for this digest. */
  start(digest: Digest, order: FillOrder): Fill {
    const logger = this.#options.logger.child({ digest, repository: order.repository })
    const fill = new Fill({
      ...this.#options,
      logger,
      digest,
      from: order.from,
      host: order.host,
      parallel: this.#parallel,
      attempt: this.#wrong.get(digest) ?? 0,
      isFresh: this.#suspicious.delete(digest),
      onResume: () => this.#counts.resumes++,
      onWrong: () => {
        this.#counts.wrong++
        this.#wrong.set(digest, (this.#wrong.get(digest) ?? 0) + 1)
        this.#suspicious.set(digest, true)
      },
      onEnd: () => {
        if (this.#running.get(digest) === fill) this.#running.delete(digest)
      },
    })
    fill.addRepository(order.repository, order.blobs)
    this.#running.set(digest, fill)
    const end = this.#finish(fill, order, logger).finally(() => this.#ends.delete(end))
    this.#ends.add(end)
    return fill
  }

  async #finish(fill: Fill, { repository, host }: FillOrder, logger: Logger): Promise<void> {
    const startedAt = performance.now()
    try {
      const stored = await this.#turns.run(host, async () => await fill.run())
      this.#wrong.delete(fill.digest)
      const ms = Math.round(performance.now() - startedAt)
      if (stored === undefined) {
        this.#counts.passedThrough++
        logger.info({ host, ms }, 'blob passed through, not stored')
      } else {
        this.#counts.stored++
        logger.info({ host, bytes: stored.size, ms }, 'fill stored')
        this.#options.cacheLog?.note({ action: 'fill', repository, descriptor: stored, host })
      }
    } catch (error) {
      this.#counts.failed++
      logger.warn({ host, error }, 'fill failed')
    }
  }

  /** Waits until the fills that `signal` has ended are gone with all they held. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ends)
  }
}

function places(most: number): Places {
  let taken = 0
  return {
    take() {
      if (taken === most) return false
      taken += 1
      return true
    },
    give() {
      taken -= 1
    },
  }
}

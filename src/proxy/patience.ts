// How long a client waits for an upstream while there is something to serve instead.
import type { Coalescer } from '../async/coalesce.ts'
import { waitFor } from '../async/wait.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Upstream } from './selection.ts'

export interface PatienceOptions {
  readonly upstream: Upstream
  /** Milliseconds; 0: as long as the upstream's own limits. */
  readonly limit: number
  /** Upstreams that clients have waited for in vain: nobody else does, until they answer. Shared by all who ask. */
  readonly slow: Set<Upstream>
  readonly logger: Logger
}

/** What any number of clients ask as one. */
export interface Question<T> {
  readonly requests: Coalescer<T>
  readonly key: string
  readonly task: () => Promise<T>
}

export class Patience {
  readonly #options: PatienceOptions

  constructor(options: PatienceOptions) {
    this.#options = options
  }

  /**
   * Asks for a client that need not have the answer. The question goes on where it is not waited for: whoever comes next
   * has the answer.
   * @throws UpstreamError at once where the upstream is known to be in trouble, and where patience ends; else what the
   * question fails with
   */
  async ask<T>(question: Question<T>, options: CallOptions | undefined): Promise<T> {
    const { upstream, limit, slow } = this.#options
    const { host } = upstream
    if (!upstream.source.condition().isReachable || slow.has(upstream)) {
      this.#askForNobody(question)
      throw new UpstreamError('unreachable', host, `${host} has failed lately, and was not waited for`)
    }
    noteFrom(options?.trace, 'upstream')
    const answer = question.requests.run(question.key, this.#task(question), options?.signal)
    if (limit === 0) return await answer
    const late = new AbortController()
    const timer = setTimeout(() => {
      slow.add(upstream)
      late.abort(new UpstreamError('timeout', host, `${host} did not answer within ${limit / 1000} s`))
    }, limit)
    try {
      return await waitFor(answer, late.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Asks before a client has to wait for the answer. An upstream in trouble is spared. */
  askAhead<T>(question: Question<T>): void {
    if (this.#options.upstream.source.condition().isReachable) this.#askForNobody(question)
  }

  /** Any answer shows that the upstream can be waited for. */
  #task<T>({ task }: Question<T>): () => Promise<T> {
    const { upstream, slow } = this.#options
    return async () => {
      try {
        const answer = await task()
        slow.delete(upstream)
        return answer
      } catch (error) {
        if (!(error instanceof UpstreamError) || error.failure === 'denied') slow.delete(upstream)
        throw error
      }
    }
  }

  #askForNobody<T>(question: Question<T>): void {
    const { upstream, logger } = this.#options
    const { requests, key } = question
    if (requests.has(key)) return
    requests.run(key, this.#task(question)).catch((error: unknown) => {
      logger.debug({ host: upstream.host, of: key, error }, 'revalidation in the background failed')
    })
  }
}

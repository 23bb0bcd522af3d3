// A blob's bytes from an upstream, in order, through as many requests as it takes: a connection that breaks goes on where
// it broke, there or at another source (P5). Nobody has verified them: whoever takes them hashes them.
import { setTimeout as sleep } from 'node:timers/promises'
import { waitFor } from '../async/wait.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { UpstreamError, type UpstreamFailure } from '../registry/upstream-error.ts'
import type { FetchedBlob, UpstreamBlobs } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { inParts, type PartRange, type PartsPlan } from './parts.ts'

export interface TransferSettings {
  /** Range requests that run at once for one large blob. */
  readonly connections: number
  /** Bytes from which on a blob is large. */
  readonly minSize: number
  /** How often, in all, bytes are asked for again. */
  readonly retries: number
  /** Milliseconds in which nothing to speak of has come, after which nothing is tried again: readers have waited enough. */
  readonly patience: number
}

export interface TransferOptions {
  readonly digest: Digest
  readonly from: UpstreamBlobs
  /** Bytes that are here already. */
  readonly start: number
  /** How often these bytes came wrong before: another source is asked first. */
  readonly attempt: number
  readonly settings: TransferSettings
  /** Places for transfers with several connections, which keep bytes in memory. */
  readonly parallel: Places
  /** Whether the bytes that were taken until now are the blob. */
  readonly isWhole: () => boolean
  /** Called when what broke is about to be asked for again. */
  readonly onResume: () => void
  /** Says in each line which blob it is. */
  readonly logger: Logger
  readonly signal: AbortSignal
}

export interface Places {
  /** Whether there was one. */
  take(): boolean
  give(): void
}

/** From `start` to the end, or to `end`. */
interface Wanted {
  readonly start: number
  readonly end?: number | undefined
}

/** To be disposed by whoever opened it. */
export interface Transfer extends AsyncDisposable {
  /** Of the whole blob; unknown where the upstream does not say. */
  readonly size: number | undefined
  /** The bytes behind `start`. */
  readonly body: AsyncGenerator<Uint8Array, void>
  /** Who has sent bytes until now: the upstream, or mirrors of it. */
  readonly hosts: ReadonlySet<string>
}

/** The parts of a blob are this large, or smaller where it has fewer bytes than so many for each connection. */
const partSize = 4 * 1024 * 1024

/** A first request that fails later than this is not repeated: clients wait for its answer. In milliseconds. */
const openingPatience = 5000

/** For how long an upstream is waited for that is left alone after its failures: no try is spent then. In milliseconds. */
const absence = 10_000

/** Bytes that show that a transfer gets on. */
const worthHearing = 16 * 1024

const passing: ReadonlySet<UpstreamFailure> = new Set(['unreachable', 'timeout', 'unavailable', 'invalid'])

/**
 * Resolves when the upstream begins to answer.
 * @throws UpstreamError; RegistryError BLOB_UNKNOWN; the signal's reason
 */
export async function openTransfer(options: TransferOptions): Promise<Transfer> {
  const source = new Source(options)
  const { start, settings, parallel } = options
  const { connections, minSize } = settings
  const size = connections > 1 ? await source.size() : undefined
  if (size === undefined || size - start < Math.max(minSize, connections) || !parallel.take()) {
    const whole = await source.open({ start })
    return transferOf(whole, source.follow(whole, { start }), source.hosts)
  }
  try {
    const length = Math.min(partSize, Math.ceil((size - start) / connections))
    const first = await source.open({ start, end: start + length })
    const knowsRanges = first.start === start && first.end === start + length
    const plan = { start, size: first.size ?? size, length, connections } // a part's word counts, not that of a HEAD
    const body = knowsRanges ? inPartsOrWhole(source, first, plan) : source.follow(first, { start })
    return transferOf(first, body, source.hosts, () => parallel.give())
  } catch (error) {
    parallel.give()
    throw error
  }
}

/** A generator that has not begun knows no end: its transfer does. */
function transferOf(
  first: FetchedBlob,
  body: AsyncGenerator<Uint8Array, void>,
  hosts: ReadonlySet<string>,
  onEnd?: () => void,
): Transfer {
  let isOver = false
  return {
    size: first.size,
    body,
    hosts,
    async [Symbol.asyncDispose]() {
      if (isOver) return
      isOver = true
      await body.return()
      await first.body[Symbol.asyncDispose]()
      onEnd?.()
    },
  }
}

/** Where ranges come wrong after all, what is left comes by one connection. */
async function* inPartsOrWhole(
  source: Source,
  first: FetchedBlob,
  plan: Pick<PartsPlan, 'start' | 'size' | 'length' | 'connections'>,
): AsyncGenerator<Uint8Array, void> {
  let at = plan.start
  const open = (part: PartRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void> =>
    source.follow(undefined, part, signal)
  try {
    const head = source.follow(first, { start: at, end: at + plan.length })
    for await (const chunk of inParts({ ...plan, first: head, open, signal: source.signal })) {
      at += chunk.byteLength
      yield chunk
    }
  } catch (error) {
    if (!(error instanceof NoRangesError)) throw error
    yield* source.follow(undefined, { start: at })
  }
}

/** A part is not worth the whole blob. */
class NoRangesError extends Error {}

interface Limit extends Disposable {
  readonly signal: AbortSignal
}

/** What the requests of one transfer share: the tries that are left, and what is known of the blob. */
class Source {
  readonly hosts = new Set<string>()
  readonly #options: TransferOptions
  readonly #validators = new Map<string, string>()
  #tries: number
  /** Before the try that was spent last: connections that broke together ask together again. */
  #pause: Promise<void> = Promise.resolve()
  /** Whether an upstream is waited for that is left alone: said once, however often it is asked for. */
  #isWaiting = false
  #attempt: number
  #size: number | undefined
  /** Ranges have come wrong: the blob is asked for from its beginning, and what is here is skipped. */
  #isWhole = false
  #heardAt = performance.now()
  #heard = 0

  constructor(options: TransferOptions) {
    this.#options = options
    this.#tries = options.settings.retries
    this.#attempt = options.attempt
  }

  get signal(): AbortSignal {
    return this.#options.signal
  }

  /** `undefined` where it cannot be had: the blob itself is asked for then, and its answer is what counts. */
  async size(): Promise<number | undefined> {
    const { from, digest, signal } = this.#options
    try {
      return (await from.stat(digest, { signal })).size
    } catch (error) {
      if (error instanceof UpstreamError || error instanceof RegistryError) return undefined
      throw error
    }
  }

  /** The first answer, tried for once more where the upstream said soon that it cannot. */
  async open({ start, end }: Wanted): Promise<FetchedBlob> {
    const began = performance.now()
    const tries = this.#tries
    try {
      return await this.#fetch(start, end)
    } catch (error) {
      const isBrief = error instanceof UpstreamError && error.failure === 'unavailable'
      if (!isBrief || isLeftAlone(error) || performance.now() - began > openingPatience) throw error
      await this.#beforeNext(error, { at: start, tries })
    }
    return await this.#fetch(start, end)
  }

  /** The bytes of a range, from an answer that is here, and from others where that one breaks. */
  async *follow(
    opened: FetchedBlob | undefined,
    range: Wanted,
    signal: AbortSignal = this.#options.signal,
  ): AsyncGenerator<Uint8Array, void> {
    let at = range.start
    let answer = opened
    let limit: Limit | undefined
    try {
      for (;;) {
        const tries = this.#tries
        try {
          const either = limit === undefined ? signal : AbortSignal.any([signal, limit.signal])
          answer ??= await this.#fetch(at, range.end, either)
          for await (const chunk of clipped(answer, at, range.end)) {
            limit?.[Symbol.dispose]()
            at += chunk.byteLength
            yield chunk
            this.#hear(chunk.byteLength)
          }
          return
        } catch (error) {
          answer = undefined
          limit?.[Symbol.dispose]()
          // Where the upstream named no length, only the digest knows that nothing is missing.
          if (error instanceof UpstreamError && this.#size === undefined && this.#options.isWhole()) return
          await this.#beforeNext(error, { at, tries }, signal)
          limit = this.#limit(error)
        }
      }
    } finally {
      limit?.[Symbol.dispose]()
    }
  }

  async #fetch(start: number, end: number | undefined, signal = this.#options.signal): Promise<FetchedBlob> {
    const { from, digest } = this.#options
    if (this.#isWhole && end !== undefined) throw new NoRangesError('ranges of this blob come wrong')
    const range = this.#isWhole ? {} : { start, end }
    const answer = await from.fetch(digest, { ...range, attempt: this.#attempt, signal })
    const trouble = this.#contradiction(answer)
    if (trouble === undefined) {
      this.hosts.add(answer.host)
      return answer
    }
    await answer.body[Symbol.asyncDispose]()
    throw new UpstreamError('invalid', answer.host, `${answer.host} ${trouble} of ${digest}`, { status: 206 })
  }

  /** Why an answer is no part of the same whole as those before. */
  #contradiction({ size, start, host, validator }: FetchedBlob): string | undefined {
    if (this.#size !== undefined && size !== undefined && size !== this.#size) return 'has another size'
    this.#size ??= size
    const known = this.#validators.get(host)
    if (validator !== undefined) this.#validators.set(host, validator)
    return start > 0 && known !== undefined && known !== validator ? 'has another version' : undefined
  }

  /** What a next try has until its first byte: no more than the patience that is left. */
  #limit(error: unknown): Limit {
    const left = this.#options.settings.patience - (performance.now() - this.#heardAt)
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(error), Math.max(0, left))
    return { signal: late.signal, [Symbol.dispose]: () => clearTimeout(timer) }
  }

  /** Bytes that drip are no sign of life. */
  #hear(bytes: number): void {
    this.#heard += bytes
    if (this.#heard < worthHearing) return
    this.#heard = 0
    this.#heardAt = performance.now()
  }

  /**
   * Waits a little, longer each time. `tries` is how many were left when this was asked for: where one has been spent since, by
   * another connection, it was for the same break.
   * @throws `error` where nothing is to be tried again
   */
  async #beforeNext(
    error: unknown,
    { at, tries }: { readonly at: number; readonly tries: number },
    signal = this.#options.signal,
  ): Promise<void> {
    signal.throwIfAborted()
    if (!(error instanceof UpstreamError) || !passing.has(error.failure)) throw error
    const { logger, settings } = this.#options
    const silence = performance.now() - this.#heardAt
    const isAway = isLeftAlone(error) && settings.retries > 0 && silence < absence
    const isFree = isAway || tries > this.#tries
    if ((this.#tries === 0 && !isFree) || silence > settings.patience) throw error
    if (error.status === 206) this.#isWhole = true
    if (!isFree) {
      this.#tries -= 1
      this.#pause = pauseFor(waitBefore(settings.retries - this.#tries, error))
    }
    this.#attempt += 1
    if (!isAway || !this.#isWaiting) {
      this.#options.onResume()
      logger.info({ host: error.host, at, error }, 'transfer broke, it goes on')
    }
    this.#isWaiting = isAway
    await waitFor(isAway ? pauseFor(500) : this.#pause, signal)
  }
}

/** Milliseconds at most. */
async function pauseFor(longest: number): Promise<void> {
  await sleep(longest * (0.5 + Math.random() / 2))
}

/** The most that is waited before a try, the first being 1: who starts anew needs some seconds. In milliseconds. */
function waitBefore(nth: number, { failure, status = 0 }: UpstreamError): number {
  const isAway = failure === 'unreachable' || (status >= 502 && status <= 504)
  return isAway ? Math.min(5000, 200 * 5 ** (nth - 1)) : Math.min(2000, 200 * 2 ** (nth - 1))
}

/** Whether it was not asked, as it has failed lately. */
function isLeftAlone({ status, retryAfter }: UpstreamError): boolean {
  return status === undefined && retryAfter !== undefined
}

/** The bytes from `start` to `end` of an answer that may begin earlier and go on longer. */
async function* clipped(answer: FetchedBlob, start: number, end = Infinity): AsyncGenerator<Uint8Array, void> {
  await using body = answer.body
  let at = answer.start
  for await (const chunk of body) {
    const wanted = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at))
    at += chunk.byteLength
    if (wanted.byteLength > 0) yield wanted
    if (at >= end) return
  }
}

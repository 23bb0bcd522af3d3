// Referrers of an upstream's manifests: fresh, else asked again, else stale, as tags are.
import type { Coalescer } from '../async/coalesce.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import { ManifestError } from '../oci/manifest.ts'
import { fallbackTag, formatReferrers, parseReferrers, type Referrer } from '../oci/referrer.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'
import type { ListOptions, ReferrersSource } from '../registry/source.ts'
import type { WritableRepository } from '../registry/store.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamReferrers } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ProxyBlobs } from './blobs.ts'
import type { StaleAnswers } from './counts.ts'
import type { Freshness } from './freshness.ts'
import type { ProxyManifests } from './manifests.ts'
import { clientError, noteStale } from './outcome.ts'
import type { Patience } from './patience.ts'
import type { ReferrerCopies } from './referrer-copies.ts'
import type { Upstream } from './selection.ts'
import type { ProxyTags } from './tags.ts'
import type { StorageTrouble } from './storage-trouble.ts'

export interface ProxyReferrersOptions {
  readonly local: WritableRepository
  /** Absent where we never dial out. */
  readonly remote: UpstreamReferrers | undefined
  readonly upstream: Upstream
  readonly blobs: ProxyBlobs
  readonly manifests: ProxyManifests
  readonly tags: ProxyTags
  readonly copies: ReferrerCopies
  readonly freshness: Freshness
  readonly patience: Patience
  readonly stale: StaleAnswers
  /** The running requests of every repository. */
  readonly requests: Coalescer<readonly Referrer[]>
  readonly trouble: StorageTrouble
  readonly logger: Logger
  /** Ends requests, at shutdown. */
  readonly signal: AbortSignal
}

export class ProxyReferrers implements ReferrersSource {
  readonly #options: ProxyReferrersOptions

  constructor(options: ProxyReferrersOptions) {
    this.#options = options
  }

  async *list(subject: Digest, options?: ListOptions): AsyncGenerator<Referrer, void> {
    const { after = '' } = options ?? {}
    const said = await this.#find(subject, options)
    if (said === undefined) yield* this.#options.local.referrers.list(subject, options)
    else yield* said.filter(({ digest }) => digest > after)
  }

  /** What the upstream says, or said; `undefined` where it cannot be asked and never said anything. */
  async #find(subject: Digest, options: CallOptions | undefined): Promise<readonly Referrer[] | undefined> {
    const { local, remote, upstream, freshness, patience, requests, stale, logger } = this.#options
    const kept = await local.referrers.find(subject, options)
    if (remote === undefined) return kept
    const known = kept ?? []
    const age = await freshness.ageOf(local.name, subject, fingerprint(known), upstream.freshness)
    const key = `${local.name}@${subject}`
    const task = async (): Promise<readonly Referrer[]> => await this.#ask(remote, subject, kept)
    if (age === 'ageing') patience.askAhead({ requests, key, task })
    if (age !== 'stale') return known
    try {
      if (kept !== undefined) return await patience.ask({ requests, key, task }, options)
      noteFrom(options?.trace, 'upstream')
      return await requests.run(key, task, options?.signal)
    } catch (error) {
      if (!isAbsence(error) && !(error instanceof UpstreamError)) throw error
      if (kept === undefined && !(await this.#isAnyHere(subject, options))) throw clientError(error)
      noteStale(error, { repository: local.name, upstream, stale, logger }, options?.trace)
      return kept
    }
  }

  /** @throws RegistryError MANIFEST_UNKNOWN where it has neither the API nor a tag instead, but has named referrers once */
  async #ask(
    remote: UpstreamReferrers,
    subject: Digest,
    kept: readonly Referrer[] | undefined,
  ): Promise<readonly Referrer[]> {
    const { local, blobs, manifests, copies, freshness, signal } = this.#options
    const hasNamedSome = kept !== undefined && kept.length > 0
    const said = (await remote.find(subject, { signal })) ?? (await this.#readTag(subject, hasNamedSome))
    const referrers = inOrder(said)
    // A client may ask for any digest. That there is nothing is worth keeping only for what is here.
    if (referrers.length > 0 || kept !== undefined || (await this.#isHere(subject))) {
      if (kept === undefined || fingerprint(kept) !== fingerprint(referrers)) {
        await this.#keep(subject, referrers)
      }
    }
    await freshness.refresh(local.name, subject, fingerprint(referrers))
    copies.start(subject, { referrers, local, blobs, manifests })
    return referrers
  }

  /** A disk that fails costs the copy, not the answer. */
  async #keep(subject: Digest, referrers: readonly Referrer[]): Promise<void> {
    const { local, trouble } = this.#options
    try {
      await local.referrers.keep(subject, referrers)
    } catch (error) {
      if (error instanceof RegistryError) throw error
      trouble.failed(error, { repository: local.name, subject })
    }
  }

  /** The list that clients keep themselves under a tag, where there is no API (distribution-spec, «Referrers Tag Schema»). */
  async #readTag(subject: Digest, isExpected: boolean): Promise<readonly Referrer[]> {
    const { tags, manifests, signal } = this.#options
    try {
      const { digest } = await tags.obtain(fallbackTag(subject), { signal })
      return parseReferrers((await manifests.obtain(digest, { signal })).bytes)
    } catch (error) {
      if (error instanceof ManifestError) return [] // the tag is something else
      if (isAbsence(error) && !isExpected) return []
      throw error
    }
  }

  async #isHere(subject: Digest): Promise<boolean> {
    try {
      await this.#options.local.manifests.stat(subject)
      return true
    } catch (error) {
      if (isAbsence(error)) return false
      throw error
    }
  }

  async #isAnyHere(subject: Digest, options: CallOptions | undefined): Promise<boolean> {
    for await (const _ of this.#options.local.referrers.list(subject, options)) return true
    return false
  }
}

/** Whether two lists are the same is asked of their digests. */
function fingerprint(referrers: readonly Referrer[]): Digest {
  return digestOf(formatReferrers(referrers))
}

function inOrder(referrers: readonly Referrer[]): Referrer[] {
  const byDigest = new Map(referrers.map((referrer) => [referrer.digest, referrer]))
  return [...byDigest.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
}

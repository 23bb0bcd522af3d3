// The referrers of a repository's manifests, read from the manifests that the index names; and what an upstream says of
// its own, kept as it was said.
import { PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isAbsence } from '../oci/error.ts'
import { ManifestError, parseManifest, type ParsedManifest } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { describeReferrer, fallbackTag, formatReferrers, parseReferrers, type Referrer } from '../oci/referrer.ts'
import type { CallOptions } from '../registry/call.ts'
import type { ListOptions, ManifestSource } from '../registry/source.ts'
import type { ReferrersStore, TagStore } from '../registry/store.ts'
import type { Logger } from '../telemetry/logger.ts'
import { upstreamReferrersPath } from './layout.ts'
import type { ReferrerIndex } from './referrer-index.ts'

/** Referrers of a list that are read together. */
const batchSize = 32

const maxKeptList = 64 * 1024 * 1024

export interface StoredReferrersOptions {
  readonly name: RepositoryName
  readonly driver: StorageDriver
  readonly index: ReferrerIndex
  readonly manifests: ManifestSource
  readonly tags: Pick<TagStore, 'find'>
  readonly logger: Logger
}

export class StoredReferrers implements ReferrersStore {
  readonly #options: StoredReferrersOptions

  constructor(options: StoredReferrersOptions) {
    this.#options = options
  }

  async *list(subject: Digest, options?: ListOptions): AsyncGenerator<Referrer, void> {
    options?.signal?.throwIfAborted()
    const { index, manifests } = this.#options
    const { after = '' } = options ?? {}
    const missing = await index.complete(manifests, options?.signal)
    const found = missing.filter((entry) => entry.subject === subject).map(({ referrer }) => referrer)
    const tagged = new Set(await this.#tagged(subject, options))
    const digests = [...new Set([...(await index.list(subject)), ...found, ...tagged])]
      .filter((digest) => digest > after)
      .toSorted()
    for (let at = 0; at < digests.length; at += batchSize) {
      const batch = digests.slice(at, at + batchSize)
      const read = async (digest: Digest): Promise<Referrer | undefined> =>
        await this.#read(subject, digest, tagged.has(digest), options)
      for (const referrer of await Promise.all(batch.map(read))) if (referrer !== undefined) yield referrer
    }
  }

  async find(subject: Digest, options?: CallOptions): Promise<readonly Referrer[] | undefined> {
    options?.signal?.throwIfAborted()
    const { name, driver, logger } = this.#options
    try {
      return parseReferrers(await driver.read(upstreamReferrersPath(name, subject), maxKeptList))
    } catch (error) {
      if (error instanceof PathNotFoundError) return undefined
      if (!(error instanceof ManifestError)) throw error
      logger.warn({ repository: name, subject, error }, 'damaged list of referrers ignored')
      return undefined
    }
  }

  async keep(subject: Digest, referrers: readonly Referrer[], options?: CallOptions): Promise<void> {
    options?.signal?.throwIfAborted()
    const { name, driver } = this.#options
    await driver.write(upstreamReferrersPath(name, subject), formatReferrers(referrers))
  }

  /** `undefined` where the manifest is gone, or is about something else. */
  async #read(
    subject: Digest,
    digest: Digest,
    isTagged: boolean,
    options: CallOptions | undefined,
  ): Promise<Referrer | undefined> {
    const found = await this.#parse(digest, options)
    if (found === undefined) return undefined
    const { descriptor, manifest } = found
    const isAbout = manifest.subject === undefined ? isTagged : manifest.subject.digest === subject
    return isAbout ? describeReferrer(descriptor, manifest) : undefined
  }

  /** What clients have listed under the fallback tag, before there was an API (distribution-spec, «Enabling the Referrers API»). */
  async #tagged(subject: Digest, options: CallOptions | undefined): Promise<Digest[]> {
    const digest = await this.#options.tags.find(fallbackTag(subject), options)
    const index = digest === undefined ? undefined : await this.#parse(digest, options)
    return index?.manifest.manifests.map((entry) => entry.digest) ?? []
  }

  async #parse(
    digest: Digest,
    options: CallOptions | undefined,
  ): Promise<{ readonly descriptor: Descriptor; readonly manifest: ParsedManifest } | undefined> {
    try {
      const { descriptor, bytes } = await this.#options.manifests.get(digest, { signal: options?.signal })
      return { descriptor, manifest: parseManifest(bytes, mediaTypes.ociArtifactManifest) }
    } catch (error) {
      if (isAbsence(error) || error instanceof ManifestError) return undefined
      throw error
    }
  }
}

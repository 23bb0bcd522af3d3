// One upstream: the readable half of the contract, over HTTP.
import type { RepositoryName } from '../oci/reference.ts'
import type { UpstreamCondition, UpstreamRepository, UpstreamSource } from '../registry/upstream-source.ts'
import { UpstreamBlobSource } from './blobs.ts'
import { UpstreamManifests, UpstreamTagSource } from './manifests.ts'
import { UpstreamReferrerSource } from './referrers.ts'
import { Session, type SessionOptions } from './session.ts'
import type { Traffic } from './transport.ts'

export type UpstreamOptions = SessionOptions

/** Holds connections, tokens and what is known of the upstream's ways. Disposing it cuts off what is still running. */
export class UpstreamRegistry implements UpstreamSource, AsyncDisposable {
  readonly #session: Session

  constructor(options: UpstreamOptions) {
    this.#session = new Session(options)
  }

  repository(name: RepositoryName): UpstreamRepository {
    const manifests = new UpstreamManifests(this.#session, name)
    return {
      name,
      blobs: new UpstreamBlobSource(this.#session, name),
      manifests,
      tags: new UpstreamTagSource(this.#session, name, manifests),
      referrers: new UpstreamReferrerSource(this.#session, name),
    }
  }

  condition(): UpstreamCondition {
    return this.#session.condition()
  }

  /** All requests for the upstream's sake, to token servers and where it redirects to as well. */
  traffic(): Traffic {
    return this.#session.traffic()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]()
  }
}

// An upstream's manifests and tags: small documents that are checked before anyone sees them.
import type { Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, digestOf, isDigest, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { ManifestError, maxManifestSize, parseManifest } from '../oci/manifest.ts'
import { bareMediaType, mediaTypes } from '../oci/media-type.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { ListOptions, Manifest, ManifestSource } from '../registry/source.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamTags } from '../registry/upstream-source.ts'
import type { Answer } from './answer.ts'
import { parseContentLength } from './content-range.ts'
import { answerError, headUnusable } from './refusal.ts'
import type { Session } from './session.ts'
import { listTags } from './tag-list.ts'

/** Always all that we know: an upstream that is told less converts, or chooses for us. */
const accept: string = [
  mediaTypes.ociIndex,
  mediaTypes.dockerManifestList,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest,
  '*/*;q=0.1',
].join(', ')

export class UpstreamManifests implements ManifestSource {
  readonly #session: Session
  readonly #repository: RepositoryName

  constructor(session: Session, repository: RepositoryName) {
    this.#session = session
    this.#repository = repository
  }

  async stat(digest: Digest, options?: CallOptions): Promise<Descriptor> {
    const found = await this.head(digest, options)
    if (found === undefined || found.size === 0) return (await this.get(digest, options)).descriptor
    const announced = found.digest ?? digest
    if (announced === digest || algorithmOf(announced) !== algorithmOf(digest)) return { ...found, digest }
    throw new UpstreamError('invalid', this.#session.host, `${this.#session.host} has another digest for ${digest}`)
  }

  async get(digest: Digest, options?: CallOptions): Promise<Manifest> {
    const answer = await this.#open(digest, options)
    const bytes = await answer.collect(maxManifestSize)
    if (digestOf(bytes, algorithmOf(digest)) !== digest) {
      throw new UpstreamError('invalid', answer.host, `${answer.host} sent something else for ${digest}`)
    }
    return describe(answer, bytes, digest)
  }

  /** The digest is that of the algorithm that the upstream itself uses. */
  async getTagged(tag: Tag, options?: CallOptions): Promise<Manifest> {
    const answer = await this.#open(tag, options)
    answer.requireFraming()
    const bytes = await answer.collect(maxManifestSize)
    const announced = answer.headerLines('docker-content-digest').filter(isDigest)
    for (const digest of announced) {
      if (digestOf(bytes, algorithmOf(digest)) === digest) continue
      throw new UpstreamError('invalid', answer.host, `${answer.host} announced another digest than that of its bytes`)
    }
    return describe(answer, bytes, announced[0] ?? digestOf(bytes))
  }

  /**
   * What a HEAD says, as far as it says anything. The media type is the header's: only the document itself is sure. The
   * size is 0 where it does not say.
   * @throws RegistryError MANIFEST_UNKNOWN
   */
  async head(
    reference: Digest | Tag,
    options?: CallOptions,
  ): Promise<{ digest: Digest | undefined; mediaType: string; size: number } | undefined> {
    const answer = await this.#ask('HEAD', reference, options)
    const refusedElsewhere = this.#session.isForeign(answer) && (answer.status === 401 || answer.status === 403)
    if (headUnusable.has(answer.status) || refusedElsewhere) {
      await answer.discard() // a URL that is signed for GET refuses HEAD
      return undefined
    }
    if (answer.status !== 200) throw await this.#refusal(answer, reference)
    await answer.discard()
    const digest = answer.header('docker-content-digest')
    const mediaType = bareMediaType(answer.header('content-type') ?? '')
    const size = parseContentLength(answer.header('content-length')) ?? 0
    if (mediaType === '' || mediaType === 'text/html') return undefined
    return { digest: digest !== undefined && isDigest(digest) ? digest : undefined, mediaType, size }
  }

  async #open(reference: Digest | Tag, options: CallOptions | undefined): Promise<Answer> {
    const answer = await this.#ask('GET', reference, options)
    if (answer.status !== 200) throw await this.#refusal(answer, reference)
    answer.requireIdentity()
    return answer
  }

  async #ask(method: 'GET' | 'HEAD', reference: Digest | Tag, options: CallOptions | undefined): Promise<Answer> {
    const repository = this.#repository
    const target = `manifests/${reference}`
    const { signal } = options ?? {}
    return await this.#session.send({ method, kind: 'manifest', repository, target, headers: { accept }, signal })
  }

  async #refusal(answer: Answer, reference: Digest | Tag): Promise<Error> {
    const error = await answerError(answer)
    if (answer.status !== 404) return error
    const what = isDigest(reference) ? `manifest name=${this.#repository} revision=${reference}` : `tag=${reference}`
    return new RegistryError('MANIFEST_UNKNOWN', `unknown ${what}`, { cause: error })
  }
}

function describe(answer: Answer, bytes: Uint8Array, digest: Digest): Manifest {
  try {
    const { mediaType } = parseManifest(bytes, answer.header('content-type'))
    // We sign what we serve of schema 1: that is for manifests of our own, not for a copy of somebody else's.
    if (mediaType === mediaTypes.dockerSchema1Signed) throw new ManifestError('schema 1 is not pulled through')
    return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes }
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause
    throw new UpstreamError('invalid', answer.host, `${answer.host} sent no manifest: ${cause.message}`, { cause })
  }
}

export class UpstreamTagSource implements UpstreamTags {
  readonly #session: Session
  readonly #repository: RepositoryName
  readonly #manifests: UpstreamManifests

  constructor(session: Session, repository: RepositoryName, manifests: UpstreamManifests) {
    this.#session = session
    this.#repository = repository
    this.#manifests = manifests
  }

  async find(tag: Tag, options?: CallOptions): Promise<Descriptor | undefined> {
    const found = await this.#manifests.head(tag, options)
    return found?.digest === undefined ? undefined : { ...found, digest: found.digest }
  }

  async get(tag: Tag, options?: CallOptions): Promise<Manifest> {
    return await this.#manifests.getTagged(tag, options)
  }

  async resolve(tag: Tag, options?: CallOptions): Promise<Descriptor> {
    return (await this.find(tag, options)) ?? (await this.get(tag, options)).descriptor
  }

  list(options?: ListOptions): AsyncIterable<Tag> {
    return listTags(this.#session, this.#repository, options)
  }
}

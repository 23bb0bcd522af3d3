// What one client's request has done, gathered until it is answered: only then is it known whether it was a pull at all
// (a 304 of a manifest is none), which tags a manifest was pushed under, and that nothing went wrong after all.
import { ToldStream, type ByteStream } from '../bytes/stream.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { ManifestError, parseManifest, type ManifestDescriptor } from '../oci/manifest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { RequestFacts, Trace } from '../registry/call.ts'
import type { Manifest } from '../registry/source.ts'
import type { Event, Target } from './event.ts'

export interface NewsOptions {
  readonly publish: (event: Event) => void
  /** Whether manifests are told with what they refer to. */
  readonly includeReferences: boolean
}

/** Statuses that make a pull: as distribution has it, a blob that the client has already, or is sent elsewhere for, is pulled. */
const pullsOfManifests: readonly (number | undefined)[] = [200]
const pullsOfBlobs: readonly (number | undefined)[] = [200, 206, 304, 307]

type Action = Extract<Event, { kind: 'registry' }>['action']

interface Pull {
  readonly target: Target
  readonly isBlob: boolean
  /** Whether all its bytes are. */
  isTaken: boolean
}

export class RequestNews {
  readonly #options: NewsOptions
  readonly #trace: Trace
  readonly #request: RequestFacts
  readonly #name: RepositoryName
  readonly #namespace: string | undefined
  readonly #tags: Tag[] = []
  readonly #deeds: { readonly action: Action; readonly target: Target }[] = []
  #pushed: Target | undefined
  readonly #pulls: Pull[] = []
  #status: number | undefined

  constructor(
    options: NewsOptions,
    { trace, request }: { readonly trace: Trace; readonly request: RequestFacts },
    { name, namespace }: { readonly name: RepositoryName; readonly namespace: string | undefined },
  ) {
    this.#options = options
    this.#trace = trace
    this.#request = request
    this.#name = name
    this.#namespace = namespace
    trace.answered = (status) => this.#answered(status)
  }

  /** Whether a manifest is to be read for its references; not where that would be a pull from an upstream. */
  get wantsBytes(): boolean {
    return this.#options.includeReferences && (this.#tags.length > 0 || this.#trace.from === 'local')
  }

  /** The tag by which a manifest is asked for, or one that points at it now. */
  tagged(tag: Tag): void {
    this.#tags.push(tag)
  }

  /** The first, which was asked for by its tag, and the image of a list that a client gets that knows no lists. */
  manifestPulled(descriptor: Descriptor, bytes?: Uint8Array): void {
    if (this.#pulls.some(({ target }) => target.digest === descriptor.digest)) return
    const tag = this.#pulls.length === 0 ? this.#tags[0] : undefined
    this.#pulls.push({ target: { ...this.#manifestTarget(descriptor, bytes), tag }, isBlob: false, isTaken: true })
  }

  /** What is looked at besides a manifest is not what was asked for. */
  blobPulled(descriptor: Descriptor): void {
    if (this.#pulls.length > 0) return
    this.#pulls.push({ target: this.#blobTarget(descriptor), isBlob: true, isTaken: true })
  }

  /** A pull when the last byte was taken, and none before. */
  blobOpened(descriptor: Descriptor, body: ByteStream): ByteStream {
    if (this.#pulls.length > 0) return body
    const pull: Pull = { target: this.#blobTarget(descriptor), isBlob: true, isTaken: false }
    this.#pulls.push(pull)
    return new ToldStream(body, () => {
      pull.isTaken = true
      this.#tellPull(pull)
    })
  }

  manifestPushed({ descriptor, bytes }: Manifest): void {
    this.#pushed = this.#manifestTarget(descriptor, bytes)
  }

  blobPushed(descriptor: Descriptor): void {
    this.#deeds.push({ action: 'push', target: this.#blobTarget(descriptor) })
  }

  blobMounted(descriptor: Descriptor, fromRepository: RepositoryName | undefined): void {
    this.#deeds.push({ action: 'mount', target: { ...this.#blobTarget(descriptor), fromRepository } })
  }

  /** Before its tags, whichever went first. */
  deleted(digest: Digest): void {
    this.#deeds.unshift({ action: 'delete', target: { digest, repository: this.#name } })
  }

  untagged(tag: Tag): void {
    this.#deeds.push({ action: 'delete', target: { repository: this.#name, tag } })
  }

  /** What was done was done, whatever the client heard of it. */
  #answered(status: number | undefined): void {
    for (const { action, target } of this.#deeds) this.#tell(action, target)
    const pushed = this.#pushed
    if (pushed !== undefined) {
      for (const tag of this.#tags.length === 0 ? [undefined] : this.#tags) this.#tell('push', { ...pushed, tag })
    }
    this.#status = status
    for (const pull of this.#pulls) this.#tellPull(pull)
  }

  #tellPull({ target, isBlob, isTaken }: Pull): void {
    if (isTaken && (isBlob ? pullsOfBlobs : pullsOfManifests).includes(this.#status)) this.#tell('pull', target)
  }

  #tell(action: Action, target: Target): void {
    this.#options.publish({ kind: 'registry', action, target, request: this.#request, user: this.#trace.user })
  }

  #manifestTarget({ mediaType, size, digest }: Descriptor, bytes: Uint8Array | undefined): Target {
    const references =
      this.#options.includeReferences && bytes !== undefined ? referencesOf(bytes, mediaType) : undefined
    return { mediaType, size, digest, length: size, ...this.#place('manifests', digest), references }
  }

  #blobTarget({ size, digest }: Descriptor): Target {
    return { mediaType: mediaTypes.octetStream, size, digest, length: size, ...this.#place('blobs', digest) }
  }

  #place(kind: 'manifests' | 'blobs', digest: Digest): Pick<Target, 'repository' | 'url'> {
    const query = this.#namespace === undefined ? '' : `?ns=${encodeURIComponent(this.#namespace)}`
    return { repository: this.#name, url: `${this.#request.base}v2/${this.#name}/${kind}/${digest}${query}` }
  }
}

function referencesOf(bytes: Uint8Array, mediaType: string): object[] | undefined {
  try {
    const { blobs, manifests } = parseManifest(bytes, mediaType)
    return [...blobs, ...manifests].map(referenceOf)
  } catch (error) {
    if (error instanceof ManifestError) return undefined // as an upstream has it
    throw error
  }
}

function referenceOf(descriptor: ManifestDescriptor): object {
  const { mediaType, size, digest, urls, annotations, artifactType, data, platform } = descriptor
  const given = urls.length === 0 ? undefined : urls
  return { mediaType, size, digest, urls: given, annotations, artifactType, data, platform }
}

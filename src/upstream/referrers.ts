// What an upstream says of a manifest's referrers, page after page (distribution-spec, «Listing Referrers»).
import type { Digest } from '../oci/digest.ts'
import { ManifestError } from '../oci/manifest.ts'
import { bareMediaType, mediaTypes } from '../oci/media-type.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { parseReferrers, type Referrer } from '../oci/referrer.ts'
import type { CallOptions } from '../registry/call.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { UpstreamReferrers } from '../registry/upstream-source.ts'
import type { Answer } from './answer.ts'
import { nextLink } from './link.ts'
import { answerError } from './refusal.ts'
import type { Session } from './session.ts'

const maxPage = 4 * 1024 * 1024
const maxPages = 100

/** Bytes of all pages together. */
const maxList = 16 * 1024 * 1024

/** How registries answer a path that they do not know. */
const unknownPath: ReadonlySet<number> = new Set([400, 404, 405, 406, 410, 501])

export class UpstreamReferrerSource implements UpstreamReferrers {
  readonly #session: Session
  readonly #repository: RepositoryName

  constructor(session: Session, repository: RepositoryName) {
    this.#session = session
    this.#repository = repository
  }

  async find(subject: Digest, options?: CallOptions): Promise<readonly Referrer[] | undefined> {
    const referrers: Referrer[] = []
    const seen = new Set<string>()
    let size = 0
    let answer = await this.#ask(`referrers/${subject}`, options)
    if (!isList(answer)) {
      if (answer.status !== 200 && !unknownPath.has(answer.status)) throw await answerError(answer)
      await answer.discard()
      return undefined
    }
    while (true) {
      seen.add(answer.url.href)
      const page = await readPage(answer)
      size += page.byteLength
      referrers.push(...parsePage(page, answer))
      const next = nextLink(answer.headerLines('link'), answer.url)
      if (next === undefined) return referrers
      if (seen.has(next.href) || seen.size >= maxPages || size > maxList) {
        throw new UpstreamError('invalid', answer.host, `${answer.host} lists the referrers of ${subject} without end`)
      }
      answer = await this.#ask(next, options)
      if (!isList(answer)) throw await answerError(answer)
    }
  }

  async #ask(target: string | URL, options: CallOptions | undefined): Promise<Answer> {
    const headers = { accept: mediaTypes.ociIndex }
    const repository = this.#repository
    const { signal } = options ?? {}
    return await this.#session.send({ method: 'GET', kind: 'list', repository, target, headers, signal })
  }
}

/** The type is what tells an answer of the API from a page that is sent for every path. */
function isList(answer: Answer): boolean {
  return answer.status === 200 && bareMediaType(answer.header('content-type') ?? '') === mediaTypes.ociIndex
}

async function readPage(answer: Answer): Promise<Buffer> {
  answer.requireIdentity()
  answer.requireFraming()
  return await answer.collect(maxPage)
}

function parsePage(page: Buffer, answer: Answer): Referrer[] {
  try {
    return parseReferrers(page)
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause
    throw new UpstreamError('invalid', answer.host, `${answer.host} sent no list of referrers: ${cause.message}`, {
      cause,
    })
  }
}

// An upstream's list of tags, page after page (distribution-spec, «Listing Tags»).
import { RegistryError } from '../oci/error.ts'
import { isTag, type RepositoryName, type Tag } from '../oci/reference.ts'
import type { ListOptions } from '../registry/source.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Answer } from './answer.ts'
import { nextLink } from './link.ts'
import { answerError } from './refusal.ts'
import type { Session } from './session.ts'

const pageSize = 1000
const maxPages = 1000
const maxPage = 8 * 1024 * 1024
const maxTags = 1_000_000

/**
 * Reads all pages before it yields the first tag: registries sort as they like, and we promise byte order.
 * @throws RegistryError NAME_UNKNOWN; UpstreamError
 */
export async function* listTags(
  session: Session,
  repository: RepositoryName,
  options: ListOptions = {},
): AsyncGenerator<Tag, void> {
  const { after, signal } = options
  const tags = new Set<Tag>()
  const seen = new Set<string>()
  let target: string | URL | undefined = `tags/list?n=${pageSize}`
  while (target !== undefined) {
    const headers = { accept: 'application/json' }
    const answer: Answer = await session.send({ method: 'GET', kind: 'list', repository, target, headers, signal })
    if (answer.status !== 200) throw await refusal(answer, repository)
    seen.add(answer.url.href)
    for (const tag of await readPage(answer)) tags.add(tag)
    target = nextLink(answer.headerLines('link'), answer.url)
    if (target !== undefined && (seen.has(target.href) || seen.size >= maxPages || tags.size > maxTags)) {
      throw new UpstreamError('invalid', answer.host, `${answer.host} lists the tags of ${repository} without end`)
    }
  }
  for (const tag of [...tags].toSorted(inByteOrder)) {
    if (after === undefined || tag > after) yield tag
  }
}

/** Some tag of the repository; `undefined` where it has none. @throws as `listTags` */
export async function someTag(session: Session, repository: RepositoryName): Promise<Tag | undefined> {
  const headers = { accept: 'application/json' }
  const answer = await session.send({ method: 'GET', kind: 'list', repository, target: 'tags/list?n=1', headers })
  if (answer.status !== 200) throw await refusal(answer, repository)
  return (await readPage(answer))[0]
}

function inByteOrder(a: Tag, b: Tag): number {
  if (a === b) return 0
  return a < b ? -1 : 1 // tags are ASCII
}

async function readPage(answer: Answer): Promise<Tag[]> {
  answer.requireIdentity()
  const text = (await answer.collect(maxPage)).toString('utf8')
  let page: unknown
  try {
    page = JSON.parse(text)
  } catch {
    page = undefined
  }
  if (typeof page === 'object' && page !== null && 'tags' in page) {
    if (page.tags === null) return []
    if (Array.isArray(page.tags)) return page.tags.filter((tag): tag is Tag => typeof tag === 'string' && isTag(tag))
  }
  throw new UpstreamError('invalid', answer.host, `${answer.host} sent no list of tags`)
}

async function refusal(answer: Answer, repository: RepositoryName): Promise<Error> {
  const error = await answerError(answer)
  if (answer.status !== 404) return error
  return new RegistryError('NAME_UNKNOWN', { name: repository }, { cause: error })
}

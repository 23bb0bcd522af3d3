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
  let answer = await askFirst(session, repository, pageSize, signal)
  while (true) {
    if (answer.status !== 200) throw await refusal(answer, repository)
    seen.add(answer.url.href)
    for (const tag of await readPage(answer)) tags.add(tag)
    const next = nextLink(answer.headerLines('link'), answer.url)
    if (next === undefined) break
    if (seen.has(next.href) || seen.size >= maxPages || tags.size > maxTags) {
      throw new UpstreamError('invalid', answer.host, `${answer.host} lists the tags of ${repository} without end`)
    }
    answer = await ask(session, repository, next, signal)
  }
  for (const tag of [...tags].toSorted(inByteOrder)) {
    if (after === undefined || tag > after) yield tag
  }
}

/** Some tag of the repository; `undefined` where it has none. @throws as `listTags` */
export async function someTag(session: Session, repository: RepositoryName): Promise<Tag | undefined> {
  const answer = await askFirst(session, repository, 1, undefined)
  if (answer.status !== 200) throw await refusal(answer, repository)
  return (await readPage(answer))[0]
}

/** A registry may know no such page size (`PAGINATION_NUMBER_INVALID`): then it is left to choose its own. */
async function askFirst(
  session: Session,
  repository: RepositoryName,
  size: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const answer = await ask(session, repository, `tags/list?n=${size}`, signal)
  if (answer.status !== 400) return answer
  await answer.discard()
  return await ask(session, repository, 'tags/list', signal)
}

async function ask(
  session: Session,
  repository: RepositoryName,
  target: string | URL,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const headers = { accept: 'application/json' }
  return await session.send({ method: 'GET', kind: 'list', repository, target, headers, signal })
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

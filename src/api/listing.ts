// Lists in pages: `_catalog` and `tags/list` (distribution-spec, «Content Discovery»).
import type { Reply } from '../http/exchange.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Registry } from '../registry/registry.ts'
import type { Repository } from '../registry/source.ts'

export interface PageLimits {
  /** Entries where the client does not say; Infinity: all. */
  readonly usual: number
  /** More than this is never sent at once where the client asks for a number: it is given fewer, and a `Link`. */
  readonly most: number
}

export async function listCatalog(
  registry: Registry,
  target: ListTarget,
  limits: PageLimits,
  call: CallOptions,
): Promise<Reply> {
  const { n, last } = parsePage(target.query, limits)
  const page = n === 0 ? { entries: [], more: false } : await takePage(registry.list({ ...call, after: last }), n)
  return pageReply({ repositories: page.entries }, page, n, target)
}

export async function listTags(
  repository: Repository,
  name: RepositoryName,
  target: ListTarget,
  limits: PageLimits,
  call: CallOptions,
): Promise<Reply> {
  const { n, last } = parsePage(target.query, limits)
  const page = await takePage(repository.tags.list({ ...call, after: last }), n) // also of none: it says what is unknown
  return pageReply({ name, tags: page.entries }, page, n, target)
}

export interface ListTarget {
  readonly path: string
  readonly query: URLSearchParams
}

interface Page {
  readonly entries: readonly string[]
  readonly more: boolean
}

/** Reads one entry more than asked for, to know whether there is a next page. */
async function takePage(source: AsyncIterable<string>, n: number): Promise<Page> {
  const entries: string[] = []
  for await (const entry of source) {
    if (entries.length === n) return { entries, more: true }
    entries.push(entry)
  }
  return { entries, more: false }
}

function parsePage(query: URLSearchParams, limits: PageLimits): { n: number; last: string | undefined } {
  const last = parameterOf(query, 'last')
  const raw = parameterOf(query, 'n')
  if (raw === undefined) return { n: limits.usual, last }
  if (!/^\d{1,15}$/.test(raw)) throw new RegistryError('PAGINATION_NUMBER_INVALID', { n: raw.slice(0, 50) })
  return { n: Math.min(Number(raw), limits.most), last }
}

/** An empty one counts as not given, as with distribution. */
function parameterOf(query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name)
  return value === null || value === '' ? undefined : value
}

function pageReply(document: Record<string, unknown>, page: Page, n: number, { path, query }: ListTarget): Reply {
  const body = Buffer.from(`${JSON.stringify(document)}\n`)
  const last = page.more ? page.entries.at(-1) : undefined
  const namespace = query.get('ns')
  const next = new URLSearchParams({ last: last ?? '', n: String(n), ...(namespace === null ? {} : { ns: namespace }) })
  return {
    status: 200,
    headers: {
      'content-type': 'application/json',
      'content-length': body.byteLength,
      ...(last === undefined ? {} : { link: `<${path}?${next.toString()}>; rel="next"` }),
    },
    body,
  }
}

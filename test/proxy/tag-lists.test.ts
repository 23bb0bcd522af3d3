// Lists of an upstream's tags: one listing for all who ask, and for every page of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { parseRepositoryName, parseTag, type Tag } from '../../src/oci/reference.ts'
import { TagLists } from '../../src/proxy/tag-lists.ts'
import { ask } from '../support/client.ts'
import { startOrigin, type Origin } from '../support/origin.ts'
import { startProxyUnderTest } from '../support/proxy-under-test.ts'

const path = '/v2/app/tags/list'

/** What the upstream lists, in one page. */
function lists(origin: Origin, tags: readonly string[]): void {
  const body = Buffer.from(JSON.stringify({ name: 'app', tags }))
  origin.dial = () => ({ reply: { status: 200, headers: { 'content-type': 'application/json' }, body } })
}

async function tagsAt(url: string): Promise<{ tags: string[]; next: string | undefined }> {
  const { body, headers } = await ask(url)
  const { tags } = JSON.parse(body.toString()) as { tags: string[] }
  return { tags, next: /^<(.*)>/.exec(String(headers['link'] ?? ''))?.[1] }
}

test('whoever pages through 100,000 tags costs the upstream one listing', async () => {
  await using origin = await startOrigin()
  const names = Array.from({ length: 100_000 }, (_, index) => `v${String(index).padStart(6, '0')}`)
  lists(origin, names.toReversed())
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: 300_000 } })
  const found: string[] = []
  for (let next: string | undefined = `${path}?n=1000`; next !== undefined;) {
    const page = await tagsAt(app.url + next)
    found.push(...page.tags)
    next = page.next
  }
  assert.deepEqual(found, names)
  assert.equal(origin.seen.length, 1)
})

test('P4: 50 clients who ask for a list at once make one listing, also where none is kept', async () => {
  const kept = new TagLists()
  const gate = deferred()
  let listings = 0
  const tags = [parseTag('v1'), parseTag('v2')]
  async function* listAll(): AsyncGenerator<Tag, void> {
    listings++
    await gate.promise
    yield* tags
  }
  const question = { repository: parseRepositoryName('app'), freshness: 0, ask: listAll }
  const clients = Array.from({ length: 50 }, async () => await Array.fromAsync(kept.list(question, undefined)))
  gate.resolve()
  for (const found of await Promise.all(clients)) assert.deepEqual(found, tags)
  assert.equal(listings, 1)
})

test('a list is kept for the freshness of its upstream, a minute at most; none is with 0s', async () => {
  for (const [freshness, kept] of [
    [3_600_000, 60_000],
    [10_000, 10_000],
    [0, 0],
  ] as const) {
    await using origin = await startOrigin()
    lists(origin, ['v1'])
    await using app = await startProxyUnderTest(origin, { upstream: { freshness } })
    await tagsAt(app.url + path)
    lists(origin, ['v1', 'v2'])
    if (kept > 0) {
      app.pass(kept - 1)
      assert.deepEqual((await tagsAt(app.url + path)).tags, ['v1'])
      assert.equal(origin.seen.length, 1)
      app.pass(1)
    }
    assert.deepEqual((await tagsAt(app.url + path)).tags, ['v1', 'v2'])
    assert.equal(origin.seen.length, 2)
  }
})

test('a list that fails is not kept', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: 60_000 } })
  origin.dial = () => ({ reply: { status: 500, headers: {} } })
  assert.equal((await ask(app.url + path)).status, 502)
  lists(origin, ['v1'])
  assert.deepEqual((await tagsAt(app.url + path)).tags, ['v1'])
})

test('P7: lists are kept for so many names in all', async () => {
  const kept = new TagLists({ limit: 1000 })
  const names = Array.from({ length: 600 }, (_, index) => parseTag(`v${index}`))
  const asked: string[] = []
  const read = async (name: string): Promise<void> => {
    async function* listAll(): AsyncGenerator<Tag, void> {
      asked.push(name)
      yield* names
    }
    const question = { repository: parseRepositoryName(name), freshness: 60_000, ask: listAll }
    for await (const _ of kept.list(question, names.at(-2))) break
  }
  for (const name of ['a', 'a', 'b', 'b', 'a']) await read(name)
  assert.deepEqual(asked, ['a', 'b', 'a'])
})

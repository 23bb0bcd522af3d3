import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reply, scriptedServer, type ReceivedRequest, type ScriptedServer } from '../support/scripted-server.ts'
import { canary, failure, name, password, upstreamAt } from './fixture.ts'

function page(request: ReceivedRequest): number {
  return Number(request.query.get('page') ?? 0)
}

test('all pages of a list are read, sorted by bytes, and what is no tag is left out', async () => {
  const pages: unknown[][] = [
    ['v2', 'latest'],
    ['Zeta', 'v10', 'bad tag', 7, 'v2'],
    ['_x', '1'],
  ]
  await using server = await scriptedServer((request, response) => {
    const next = page(request) + 1
    const link = `</v2/${name}/tags/list?page=${next}>; rel="next"`
    reply(response, 200, next < pages.length ? { link } : {}, { name, tags: pages[next - 1] })
  })
  await using upstream = upstreamAt(server.url)
  const { tags } = upstream.repository(name)
  assert.deepEqual(await Array.fromAsync(tags.list()), ['1', 'Zeta', '_x', 'latest', 'v10', 'v2'])
  assert.deepEqual(await Array.fromAsync(tags.list({ after: 'b' })), ['latest', 'v10', 'v2'])
  assert.equal(server.requests[0]?.url, '/v2/library/alpine/tags/list?n=1000')
})

test('a list that a redirect has led to another registry goes on there, with a token for its own scope', async () => {
  const scope = 'repository:images/alpine:pull'
  await using other: ScriptedServer = await scriptedServer((request, response) => {
    const { path, query, authorization } = request
    if (path === '/token') reply(response, 200, {}, { token: query.get('scope')?.replaceAll(':', '.') })
    else if (authorization === `Bearer ${scope.replaceAll(':', '.')}`) {
      const link = { link: '</v2/images/alpine/tags/list?page=1>; rel="next"' }
      reply(response, 200, page(request) === 0 ? link : {}, { name, tags: [`v${page(request)}`] })
    } else reply(response, 401, { 'www-authenticate': `Bearer realm="${other.url.origin}/token",service="theirs"` })
  })
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `${other.url.origin}/v2/images/alpine/tags/list?n=1000` }),
  )
  await using upstream = upstreamAt(server.url)
  assert.deepEqual(await Array.fromAsync(upstream.repository(name).tags.list()), ['v0', 'v1'])
  const scopes = other.requests.filter(({ path }) => path === '/token').map(({ query }) => query.get('scope'))
  assert.deepEqual(scopes, [scope])
})

test('an upstream that refuses the size of a page is asked once more for one of its own size', async () => {
  await using server = await scriptedServer((request, response) => {
    if (request.query.has('n')) reply(response, 400, {}, { errors: [{ code: 'PAGINATION_NUMBER_INVALID' }] })
    else {
      const link = { link: `</v2/${name}/tags/list?page=1>; rel="next"` }
      reply(response, 200, page(request) === 0 ? link : {}, { name, tags: [`v${page(request)}`] })
    }
  })
  await using upstream = upstreamAt(server.url)
  assert.deepEqual(await Array.fromAsync(upstream.repository(name).tags.list()), ['v0', 'v1'])
  const asked = ['?n=1000', '', '?page=1'].map((query) => `/v2/library/alpine/tags/list${query}`)
  assert.deepEqual(
    server.requests.map(({ url }) => url),
    asked,
  )
})

test('an upstream that refuses its list is asked no more than twice', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 400, {}, { errors: [] }))
  await using upstream = upstreamAt(server.url)
  await failure(Array.fromAsync(upstream.repository(name).tags.list()), 'invalid')
  assert.equal(server.requests.length, 2)
})

test('a repository without tags has an empty list', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, { name, tags: null }))
  await using upstream = upstreamAt(server.url)
  assert.deepEqual(await Array.fromAsync(upstream.repository(name).tags.list()), [])
})

for (const [why, body] of [
  ['HTML', '<html>'],
  ['another document', '{"errors":[]}'],
  ['tags that are no list', '{"tags":{"a":1}}'],
  ['more than 8 MiB', `{"tags":["${'a'.repeat(9_000_000)}"]}`],
] as const) {
  test(`a list that is ${why} is refused`, async () => {
    await using server = await scriptedServer((_request, response) => reply(response, 200, {}, body))
    await using upstream = upstreamAt(server.url)
    await failure(Array.fromAsync(upstream.repository(name).tags.list()), 'invalid')
  })
}

test('T-22, P7: a list that goes round is refused', async () => {
  await using server = await scriptedServer((request, response) =>
    reply(response, 200, { link: `<?page=${(page(request) + 1) % 3}>; rel="next"` }, { tags: ['a'] }),
  )
  await using upstream = upstreamAt(server.url)
  await failure(Array.fromAsync(upstream.repository(name).tags.list()), 'invalid')
  assert.ok(server.requests.length <= 4)
})

test('T-22, P7: a list without end is refused', async () => {
  await using server = await scriptedServer((request, response) =>
    reply(response, 200, { link: `<?page=${page(request) + 1}>; rel="next"` }, { tags: [`t${page(request)}`] }),
  )
  await using upstream = upstreamAt(server.url)
  await failure(Array.fromAsync(upstream.repository(name).tags.list()), 'invalid')
  assert.ok(server.requests.length <= 1000)
})

test('P8: a list that goes on elsewhere is not followed', async () => {
  await using sink = await scriptedServer((_request, response) => reply(response, 200, {}, { tags: [canary] }))
  await using server = await scriptedServer(({ authorization }, response) => {
    if (authorization === undefined) reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
    else reply(response, 200, { link: `<${sink.url.origin}/v2/x/tags/list>; rel="next"` }, { tags: ['a'] })
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await failure(Array.fromAsync(upstream.repository(name).tags.list()), 'invalid')
  assert.deepEqual(sink.requests, [])
})

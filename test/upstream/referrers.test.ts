import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { bytesOf, listedAs, referrerDocument } from '../support/referrers.ts'
import { reply, scriptedServer, type ReceivedRequest } from '../support/scripted-server.ts'
import { canary, failure, name, password, upstreamAt } from './fixture.ts'

const subject = digestOf('an image')
const listed = ['a', 'b', 'c'].map((text) => listedAs(bytesOf(referrerDocument(subject, text))))
const type = { 'content-type': mediaTypes.ociIndex }

function pageOf(...manifests: readonly unknown[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests })
}

function page({ query }: ReceivedRequest): number {
  return Number(query.get('page') ?? 0)
}

test('all pages of a list are read', async () => {
  await using server = await scriptedServer((request, response) => {
    const next = page(request) + 1
    const link = { link: `</v2/${name}/referrers/${subject}?page=${next}>; rel="next"` }
    reply(response, 200, { ...type, ...(next < listed.length ? link : {}) }, pageOf(listed[next - 1]))
  })
  await using upstream = upstreamAt(server.url)
  assert.deepEqual(await upstream.repository(name).referrers.find(subject), listed)
  assert.equal(server.requests[0]?.url, `/v2/${name}/referrers/${subject}`)
  assert.equal(server.requests[0]?.headers.accept, mediaTypes.ociIndex)
})

test('the type may have parameters, and the list may be empty', async () => {
  for (const text of [pageOf(), '{"manifests":null}']) {
    await using server = await scriptedServer((_request, response) =>
      reply(response, 200, { 'content-type': `${mediaTypes.ociIndex}; charset=utf-8` }, text),
    )
    await using upstream = upstreamAt(server.url)
    assert.deepEqual(await upstream.repository(name).referrers.find(subject), [])
  }
})

for (const [why, status, headers, body] of [
  ['knows no such path', 404, {}, '404 page not found'],
  ['knows no such repository', 404, { 'content-type': 'application/json' }, '{"errors":[{"code":"NAME_UNKNOWN"}]}'],
  ['takes it for something else', 400, {}, ''],
  ['has no such method', 405, {}, ''],
  ['sends a page for every path', 200, { 'content-type': 'text/html' }, '<html>'],
  ['sends JSON of no special type', 200, { 'content-type': 'application/json' }, pageOf(...listed)],
] as const) {
  test(`an upstream that ${why} has no referrers API`, async () => {
    await using server = await scriptedServer((_request, response) => reply(response, status, headers, body))
    await using upstream = upstreamAt(server.url)
    assert.equal(await upstream.repository(name).referrers.find(subject), undefined)
  })
}

for (const [why, status, expected] of [
  ['refuses', 403, 'denied'],
  ['has had enough of us', 429, 'rate-limited'],
  ['is broken', 500, 'unavailable'],
] as const) {
  test(`P10: an upstream that ${why} is not one without referrers`, async () => {
    await using server = await scriptedServer((_request, response) => reply(response, status))
    await using upstream = upstreamAt(server.url)
    await failure(upstream.repository(name).referrers.find(subject), expected)
  })
}

for (const [why, body] of [
  ['HTML', '<html>'],
  ['another document', '{"errors":[]}'],
  ['more than 4 MiB', pageOf('a'.repeat(4_200_000))],
] as const) {
  test(`a list that is ${why} is refused`, async () => {
    await using server = await scriptedServer((_request, response) => reply(response, 200, type, body))
    await using upstream = upstreamAt(server.url)
    await failure(upstream.repository(name).referrers.find(subject), 'invalid')
  })
}

test('P7: a list that goes round, one without end and one that is too large are refused', async () => {
  const cases: [(request: ReceivedRequest) => number, string, number][] = [
    [(request) => (page(request) + 1) % 3, pageOf(listed[0]), 4],
    [(request) => page(request) + 1, pageOf(listed[0]), 100],
    [(request) => page(request) + 1, pageOf('a'.repeat(3_900_000)), 5],
  ]
  for (const [next, body, most] of cases) {
    await using server = await scriptedServer((request, response) =>
      reply(response, 200, { ...type, link: `<?page=${next(request)}>; rel="next"` }, body),
    )
    await using upstream = upstreamAt(server.url)
    await failure(upstream.repository(name).referrers.find(subject), 'invalid')
    assert.ok(server.requests.length <= most, `${server.requests.length} requests`)
  }
})

test('a list whose later page fails is no shorter list', async () => {
  await using server = await scriptedServer((request, response) => {
    if (page(request) > 0) reply(response, 404)
    else reply(response, 200, { ...type, link: '<?page=1>; rel="next"' }, pageOf(listed[0]))
  })
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).referrers.find(subject), 'invalid')
})

test('P8: a list that goes on elsewhere is not followed', async () => {
  await using sink = await scriptedServer((_request, response) => reply(response, 200, type, pageOf(canary)))
  await using server = await scriptedServer(({ authorization }, response) => {
    if (authorization === undefined) reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
    else reply(response, 200, { ...type, link: `<${sink.url.origin}/v2/x/referrers/${subject}>; rel="next"` }, pageOf())
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await failure(upstream.repository(name).referrers.find(subject), 'invalid')
  assert.deepEqual(sink.requests, [])
})

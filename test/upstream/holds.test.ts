import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { Holds } from '../../src/upstream/holds.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { blob, blobDigest, failure, latest, manifest, manifestDigest, name, upstreamAt } from './fixture.ts'

const registry = new URL('https://r.example')

function secondsLeft(holds: Holds, url = registry): number | undefined {
  try {
    holds.check(url, 'manifest')
    return undefined
  } catch (error) {
    assert.ok(error instanceof UpstreamError)
    assert.equal(error.failure, 'rate-limited')
    return error.retryAfter
  }
}

test('a hold lasts as long as the answer says, for its host and class only', () => {
  let now = 0
  const holds = new Holds({ logger: silentLogger, clock: () => now })
  holds.hold(registry, 'manifest', 17)
  holds.check(registry, 'manifest-head')
  assert.equal(secondsLeft(holds, new URL('https://other.example')), undefined)
  assert.equal(secondsLeft(holds), 17)
  now = 16_001
  assert.equal(secondsLeft(holds), 1)
  now = 17_000
  assert.equal(secondsLeft(holds), undefined)
})

test('a hold without a time that can be read lasts a minute, or up to a fifth longer', () => {
  for (const [random, seconds] of [
    [0, 60],
    [1, 72],
  ] as const) {
    const holds = new Holds({ logger: silentLogger, clock: () => 0, random: () => random })
    holds.hold(registry, 'manifest', undefined)
    assert.equal(secondsLeft(holds), seconds)
  }
})

test('what is still on its way neither shortens nor ends a hold', () => {
  let now = 0
  const holds = new Holds({ logger: silentLogger, clock: () => now })
  holds.hold(registry, 'manifest', 60)
  holds.release(registry, 'manifest')
  holds.hold(registry, 'manifest', 1)
  now = 59_000
  assert.equal(secondsLeft(holds), 1)
})

test('P7: only so many holds are remembered, the oldest goes first', () => {
  const holds = new Holds({ logger: silentLogger, clock: () => 0, limit: 2 })
  for (const host of ['a', 'b', 'a', 'c']) holds.hold(new URL(`https://${host}`), 'manifest', 60)
  assert.deepEqual(
    ['a', 'b', 'c'].map((host) => secondsLeft(holds, new URL(`https://${host}`))),
    [60, undefined, 60],
  )
})

test('a limit is said once, until something is answered again', () => {
  let now = 0
  const { logger, lines } = recordingLogger()
  const holds = new Holds({ logger, clock: () => now })
  for (let round = 0; round < 5; round += 1) {
    holds.hold(registry, 'manifest', 1)
    now += 1000
  }
  assert.deepEqual(
    lines.map(({ level, host, class: what, seconds, msg }) => [level, host, what, seconds, msg]),
    [['warn', 'r.example', 'manifest', 1, 'upstream limits our requests']],
  )
  holds.release(registry, 'manifest')
  holds.hold(registry, 'manifest', 1)
  assert.equal(lines.length, 2)
})

const inTenMinutes = new Date(Date.now() + 600_000).toUTCString()

/** What is held back until when: at `before` milliseconds it is, at `after` it is not. */
const headers: ReadonlyArray<{ header: string | undefined; before: number; after: number }> = [
  { header: '17', before: 16_999, after: 17_000 },
  { header: inTenMinutes, before: 60_000, after: 601_000 },
  { header: 'soon', before: 59_999, after: 72_000 },
  { header: undefined, before: 59_999, after: 72_000 },
  { header: '1000000000', before: 3_599_999, after: 3_600_000 },
]

for (const { header, before, after } of headers) {
  test(`T-18: after a 429 with Retry-After «${header === inTenMinutes ? 'a date' : header}» nobody is asked until then`, async () => {
    let now = 0
    let status = 429
    await using server = await scriptedServer((_request, response) =>
      reply(response, status, header === undefined ? {} : { 'retry-after': header }, manifest),
    )
    await using upstream = upstreamAt(server.url, { clock: () => now })
    const { manifests } = upstream.repository(name)
    await failure(manifests.get(manifestDigest), 'rate-limited')
    now = before
    for (let time = 0; time < 10; time += 1) {
      const error = await failure(manifests.get(manifestDigest), 'rate-limited')
      assert.ok(error.retryAfter !== undefined && error.retryAfter >= 1 && error.retryAfter <= 3600)
      assert.equal(
        error.message,
        `${server.host} has had too many requests of us, it is asked again in ${error.retryAfter} s`,
      )
    }
    assert.equal(server.requests.length, 1)
    now = after
    status = 200
    await manifests.get(manifestDigest)
    assert.equal(server.requests.length, 2)
  })
}

test('a limit on manifests leaves their HEAD, the blobs and the lists alone', async () => {
  await using server = await scriptedServer(({ method, path }, response) => {
    if (method === 'GET' && path.includes('/manifests/')) reply(response, 429)
    else if (path.endsWith('/tags/list')) reply(response, 200, {}, { tags: [] })
    else if (path.includes('/blobs/')) reply(response, 200, {}, blob)
    else reply(response, 200, { 'docker-content-digest': manifestDigest, 'content-type': 'application/json' }, manifest)
  })
  await using upstream = upstreamAt(server.url)
  const { manifests, tags, blobs, referrers } = upstream.repository(name)
  await failure(manifests.get(manifestDigest), 'rate-limited')
  await failure(upstream.repository(parseRepositoryName('other')).tags.get(latest), 'rate-limited')
  await tags.find(latest)
  await blobs.stat(blobDigest)
  await Array.fromAsync(tags.list())
  await referrers.find(manifestDigest)
  assert.equal(server.requests.length, 5)
  assert.equal(upstream.condition().isReachable, true)
})

test('blobs are one class, and so are lists', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 429))
  await using upstream = upstreamAt(server.url)
  const { tags, blobs, referrers } = upstream.repository(name)
  await failure(blobs.stat(blobDigest), 'rate-limited')
  await failure(blobs.fetch(blobDigest), 'rate-limited')
  await failure(referrers.find(manifestDigest), 'rate-limited')
  await failure(Array.fromAsync(tags.list()), 'rate-limited')
  assert.equal(server.requests.length, 2)
})

test('a limit of the host that a redirect leads to holds back what goes there', async () => {
  await using cdn = await scriptedServer((_request, response) => reply(response, 429))
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `${cdn.url.origin}/blob` }),
  )
  await using upstream = upstreamAt(server.url)
  for (let time = 0; time < 3; time += 1) {
    await failure(upstream.repository(name).blobs.fetch(blobDigest), 'rate-limited')
  }
  assert.equal(cdn.requests.length, 1)
  assert.equal(server.requests.length, 3)
})

test('T-18: a token server that answers 429 is left alone, and the registry with it', async () => {
  let now = 0
  let isLimited = true
  await using server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    if (path === '/token') {
      if (isLimited) reply(response, 429, { 'retry-after': '30' })
      else reply(response, 200, {}, { token: 't' })
    } else if (authorization === 'Bearer t') {
      reply(response, 200, {}, manifest)
    } else {
      reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token"` })
    }
  })
  await using upstream = upstreamAt(server.url, { clock: () => now })
  const other = upstream.repository(parseRepositoryName('other')).manifests
  const { manifests } = upstream.repository(name)
  for (let time = 0; time < 5; time += 1) {
    for (const source of [manifests, other]) {
      assert.equal((await failure(source.get(manifestDigest), 'rate-limited')).retryAfter, 30)
    }
  }
  assert.deepEqual(
    server.requests.map(({ path }) => path),
    [`/v2/${name}/manifests/${manifestDigest}`, '/token'],
  )
  now = 30_000
  isLimited = false
  await manifests.get(manifestDigest)
})

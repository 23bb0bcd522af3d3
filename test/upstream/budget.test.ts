import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { Budget } from '../../src/upstream/budget.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { reply, scriptedServer } from '../support/scripted-server.ts'
import { blobDigest, latest, manifest, manifestDigest, name, upstreamAt } from './fixture.ts'

const hour = 3_600_000

const headers: ReadonlyArray<{
  limit: string | undefined
  remaining: string | undefined
  left: number | undefined
  /** Milliseconds after which it is not known any more. */
  lasts?: number
}> = [
  { limit: '100;w=21600', remaining: '98;w=21600', left: 98, lasts: 6 * hour },
  { limit: '100;w=3600', remaining: '98;w=60', left: 98, lasts: 60_000 },
  { limit: '100;w=3600', remaining: '98', left: 98, lasts: hour },
  { limit: undefined, remaining: ' 0 ; w=60 ', left: 0, lasts: 60_000 },
  { limit: '100', remaining: '98', left: 98, lasts: 6 * hour },
  { limit: '100;w=0', remaining: '98;w=0', left: 98, lasts: 6 * hour },
  { limit: '100;w=1000000000', remaining: '98;w=1000000000', left: 98, lasts: 24 * hour },
  { limit: '100;w=21600', remaining: undefined, left: undefined },
  { limit: '100;w=21600', remaining: '-1;w=21600', left: undefined },
  { limit: '100;w=21600', remaining: 'many', left: undefined },
]

for (const { limit, remaining, left, lasts } of headers) {
  test(`of ${limit ?? 'an unknown limit'}, remaining «${remaining ?? 'missing'}» means ${left ?? 'nothing'}`, () => {
    let now = 5
    const budget = new Budget({ host: 'r.example', reserve: 0, logger: silentLogger, clock: () => now })
    budget.note(limit, remaining)
    assert.equal(budget.left, left)
    if (lasts === undefined) return
    now = 4 + lasts
    assert.equal(budget.left, left)
    now = 5 + lasts
    assert.equal(budget.left, undefined)
  })
}

test('an answer that says nothing changes nothing', () => {
  const budget = new Budget({ host: 'r.example', reserve: 0, logger: silentLogger })
  budget.note('100;w=60', '7;w=60')
  budget.note(undefined, undefined)
  assert.equal(budget.left, 7)
})

test('few pulls left, and the reserve, are said once each time they are reached', () => {
  const { logger, lines } = recordingLogger()
  const budget = new Budget({ host: 'r.example', reserve: 5, logger })
  const said = [11, 10, 9, 8, 5, 4, 3, 100, 4].map((left) => {
    budget.note('100;w=60', `${left};w=60`)
    return lines.splice(0).map(({ level, host, msg }) => [level, host, msg])
  })
  const few = ['info', 'r.example', 'upstream has few pulls left for us']
  const reserve = ['info', 'r.example', 'pulls are down to the reserve']
  assert.deepEqual(said, [[], [], [few], [], [], [reserve], [], [], [few, reserve]])
})

test('an upstream says how many pulls it has left, also by HEAD and with a refusal; other hosts do not', async () => {
  let left = 99
  let now = 0
  await using cdn = await scriptedServer((_request, response) =>
    reply(response, 404, { 'ratelimit-limit': '5', 'ratelimit-remaining': '5' }),
  )
  await using server = await scriptedServer(({ path, method }, response) => {
    left -= 1
    const said = { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': `${left};w=21600` }
    if (path.includes('/blobs/')) reply(response, 307, { location: `${cdn.url.origin}/blob` })
    else if (method === 'HEAD') reply(response, 404, said)
    else reply(response, 200, said, manifest)
  })
  await using upstream = upstreamAt(server.url, { clock: () => now })
  const { manifests, tags, blobs } = upstream.repository(name)
  assert.equal(upstream.condition().pullsLeft, undefined)
  await manifests.get(manifestDigest)
  assert.equal(upstream.condition().pullsLeft, 98)
  await assert.rejects(tags.find(latest))
  assert.equal(upstream.condition().pullsLeft, 97)
  await assert.rejects(blobs.fetch(blobDigest))
  assert.equal(upstream.condition().pullsLeft, 97)
  now = 6 * hour
  assert.equal(upstream.condition().pullsLeft, undefined)
})

// Deliveries: in their order, at least once, to each endpoint by itself, whatever it does.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { reply, scriptedServer } from '../support/scripted-server.ts'
import { publisherTo, pullOf } from './publishing.ts'
import { startSink, type Told } from './sink.ts'

function tagsOf(told: readonly Told[]): unknown[] {
  return told.map(({ target }) => target['tag'])
}

/** Asks again in each turn of the event loop: for counts, which no event tells of. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate)
}

test('events come in their order, and one that was not taken comes again before the next', async () => {
  const statuses = [500, 404, 200, 200, 503, 200]
  await using sink = await startSink((_, response) => reply(response, statuses.shift() ?? 200))
  await using under = publisherTo([{ url: sink.url }])
  under.publish('a', 'b', 'c')
  const told = await sink.until(6)
  assert.deepEqual(tagsOf(told), ['a', 'a', 'a', 'b', 'c', 'c'])
  assert.equal(new Set(told.map(({ id }) => id)).size, 3)
  await until(() => under.publisher.counts()[0]?.pending === 0)
  assert.deepEqual(under.publisher.counts(), [
    {
      name: 'sink 0',
      pending: 0,
      events: 3,
      successes: 3,
      failures: 3,
      errors: 0,
      dropped: 0,
      statuses: { '500 Internal Server Error': 1, '404 Not Found': 1, '200 OK': 3, '503 Service Unavailable': 1 },
    },
  ])
  assert.deepEqual(under.waits, [])
})

test('after so many failures in a row each next try waits; the log says it once, and when it is over', async () => {
  let left = 5
  await using sink = await startSink((_, response) => reply(response, left-- > 0 ? 500 : 200))
  await using under = publisherTo([{ url: sink.url, threshold: 3, backoff: 1234 }])
  under.publish('a', 'b')
  assert.deepEqual(tagsOf(await sink.until(7)), ['a', 'a', 'a', 'a', 'a', 'a', 'b'])
  assert.deepEqual(under.waits, [1234, 1234, 1234])
  await until(() => under.publisher.counts()[0]?.pending === 0)
  assert.deepEqual(
    under.lines.map(({ level, msg, endpoint, status }) => [level, msg, endpoint, status]),
    [
      ['warn', 'endpoint fails: its events wait', 'sink 0', 500],
      ['info', 'endpoint answers again', 'sink 0', undefined],
    ],
  )
})

test('an endpoint that hangs, and one that is not there, hold up nobody else', async () => {
  await using sink = await startSink()
  await using hanging = await startSink(() => {})
  const nowhere = new URL('http://127.0.0.1:1/')
  await using under = publisherTo([{ url: hanging.url }, { url: nowhere }, { url: sink.url }])
  under.publish('a', 'b', 'c')
  assert.deepEqual(tagsOf(await sink.until(3)), ['a', 'b', 'c'])
  await hanging.until(1)
  await until(() => (under.publisher.counts()[1]?.errors ?? 0) > 3 && under.publisher.counts()[2]?.pending === 0)
  assert.deepEqual(
    under.publisher.counts().map(({ pending }) => pending),
    [3, 3, 0],
  )
})

test('a delivery that takes too long is an error, and comes again', async () => {
  let isSlow = true
  await using sink = await startSink((_, response) => {
    if (!isSlow) reply(response, 200)
    isSlow = false
  })
  await using under = publisherTo([{ url: sink.url, timeout: 100 }])
  under.publish('a')
  const [first, second] = await sink.until(2)
  assert.equal(first?.id, second?.id)
  await until(() => under.publisher.counts()[0]?.successes === 1)
  assert.ok((under.publisher.counts()[0]?.errors ?? 0) > 0)
})

test('an endpoint hears nothing of what it ignores', async () => {
  await using sink = await startSink()
  await using under = publisherTo([
    { url: new URL('/types', sink.url), ignoredMediaTypes: ['a/blob', 'c/d'] },
    { url: new URL('/actions', sink.url), ignoredActions: ['pull'] },
    { url: new URL('/all', sink.url) },
  ])
  const { publisher } = under
  publisher.publish(pullOf('a', 'a/blob'))
  publisher.publish(pullOf('b'))
  publisher.publish({ ...pullOf('c'), action: 'delete', target: { repository: 'a', tag: 'c' } })
  publisher.note({ action: 'evicted', repository: 'a', digest: 'sha256:…' } as never)
  await sink.until(6)
  const heard = (path: string): unknown[] =>
    sink.requests.filter((one) => one.path === path).map(({ body }) => /"tag": "(.)"/.exec(body)?.[1])
  assert.deepEqual([heard('/types'), heard('/actions'), heard('/all')], [['b', 'c'], ['c'], ['a', 'b', 'c']])
})

test('P7: beyond its bounds events are dropped, counted, and said once', async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  await using sink = await startSink(async (_, response) => {
    await released
    reply(response, 200)
  })
  let now = 0
  const bounds = { maxEvents: 4, maxSize: 1024 * 1024 }
  await using under = publisherTo([{ url: sink.url }], { bounds, now: () => now })
  under.publish('a', 'b', 'c')
  await sink.until(1)
  under.publish('d', 'e', 'f')
  assert.deepEqual(
    under.publisher.counts().map(({ pending, dropped }) => [pending, dropped]),
    [[4, 2]],
  )
  release()
  await sink.until(4)
  await until(() => under.publisher.counts()[0]?.pending === 0)
  under.publish('g')
  assert.deepEqual(tagsOf(await sink.until(5)), ['a', 'b', 'c', 'd', 'g'])
  assert.equal(under.lines.length, 1)
  now = 60_000
  under.publish('h')
  await sink.until(6)
  assert.deepEqual(
    under.lines.map(({ level, msg, dropped }) => [level, msg, dropped]),
    [
      ['warn', 'the queue of an endpoint is full: events are dropped', undefined],
      ['info', 'events are kept again', 2],
    ],
  )
})

test('P7: the bytes that wait are bounded, too', async () => {
  await using sink = await startSink(() => {})
  await using under = publisherTo([{ url: sink.url }], { bounds: { maxEvents: 100, maxSize: 5000 } })
  under.publish('a', 'x'.repeat(4000), 'b', 'y'.repeat(4000), 'c')
  await sink.until(1)
  const [{ dropped, pending } = assert.fail()] = under.publisher.counts()
  assert.deepEqual([dropped, pending], [2, 3])
})

test('redirects are followed as Go does', async () => {
  const steps: string[] = []
  await using sink = await scriptedServer((request, response) => {
    steps.push(`${request.method} ${request.url} ${request.body === '' ? 'empty' : 'event'}`)
    if (request.path === '/loop') return reply(response, 307, { location: '/loop' })
    const [, status, next] = /^\/(\d+)(.*)$/.exec(request.url) ?? []
    if (status === undefined) return reply(response, 200)
    reply(response, Number(status), next === '' ? {} : { location: next ?? '' })
  })
  await using under = publisherTo([
    { name: 'again', url: new URL('/307/308/a?b=c', sink.url) },
    { name: 'seen', url: new URL('/302/d', sink.url) },
    { name: 'nowhere', url: new URL('/303', sink.url) },
    { name: 'loop', url: new URL('/loop', sink.url), threshold: 1 },
    { name: 'file', url: new URL('/307file:///etc/passwd', sink.url), threshold: 1 },
  ])
  under.publish('a')
  const counts = (name: string): (number | undefined)[] => {
    const found = under.publisher.counts().find((one) => one.name === name)
    return [found?.successes, Math.min(1, found?.errors ?? 0)]
  }
  for (const name of ['again', 'seen', 'nowhere']) await until(() => counts(name)[0] === 1)
  for (const name of ['loop', 'file']) await until(() => counts(name)[1] === 1)
  for (const step of ['POST /307/308/a?b=c event', 'POST /308/a?b=c event', 'POST /a?b=c event']) {
    assert.ok(steps.includes(step), step)
  }
  for (const step of ['POST /302/d event', 'GET /d empty', 'POST /303 event']) assert.ok(steps.includes(step), step)
  assert.deepEqual(
    [counts('loop'), counts('file')],
    [
      [0, 1],
      [0, 1],
    ],
  )
})

test('P8: what is configured for a host goes to that host alone, and nothing of it is logged', async () => {
  await using other = await scriptedServer((_, response) => reply(response, 500))
  await using sink = await scriptedServer((request, response) => {
    if (request.path === '/hook-canary') return reply(response, 307, { location: '/again-canary?canary' })
    reply(response, 307, { location: `${other.url.origin}/other-canary` })
  })
  const url = new URL('/hook-canary?token=canary', sink.url)
  url.username = 'canary'
  url.password = 'canary:%20'
  const nowhere = new URL('http://canary:canary@127.0.0.1:1/canary')
  await using under = publisherTo([
    { url, headers: { 'X-Token': ['canary'] }, threshold: 1 },
    { url: nowhere, headers: { 'X-Token': ['canary'] }, threshold: 1 },
  ])
  under.publish('a')
  await until(() => under.publisher.counts().every(({ errors, failures }) => errors + failures > 0))
  const [first, second] = sink.requests
  for (const request of [first, second]) {
    assert.equal(request?.headers['x-token'], 'canary')
    assert.equal(request?.authorization, `Basic ${Buffer.from('canary:canary: ').toString('base64')}`)
  }
  const [elsewhere] = other.requests
  assert.ok(elsewhere !== undefined && elsewhere.body !== '')
  assert.deepEqual([elsewhere.headers['x-token'], elsewhere.authorization], [undefined, undefined])
  await until(() => under.lines.length >= 2)
  assert.doesNotMatch(under.text(), /canary/)
})

test('a user name and password in the URL may hold what no URL should', async () => {
  await using sink = await startSink()
  const url = new URL(sink.url)
  url.href = url.href.replace('//', '//us%65r:100%@')
  await using under = publisherTo([{ url }])
  under.publish('a')
  await sink.until(1)
  assert.equal(sink.requests[0]?.authorization, `Basic ${Buffer.from('user:100%').toString('base64')}`)
})

test('what was published just before the end is delivered', async () => {
  await using sink = await startSink()
  {
    await using under = publisherTo([{ url: sink.url }])
    under.publish('a', 'b', 'c')
  }
  assert.deepEqual(tagsOf(sink.told), ['a', 'b', 'c'])
})

test('an endpoint that fails holds up no end', async () => {
  await using sink = await startSink((_, response) => reply(response, 500))
  const under = publisherTo([{ url: sink.url, threshold: 1 }], {
    wait: async (_, signal) => void (await once(signal, 'abort')),
  })
  under.publish('a')
  await until(() => under.publisher.counts()[0]?.failures === 1)
  await under[Symbol.asyncDispose]()
  assert.ok(under.lines.some(({ msg, events }) => msg === 'events are lost' && events === 1))
})

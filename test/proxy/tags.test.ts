// Tags: fresh, ageing, stale, and what an operator wants where an upstream has lost one or refuses it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { fixedCredentials } from '../../src/upstream/credentials.ts'
import { ask, pull } from '../support/client.ts'
import { startOrigin, type Fault, type Origin } from '../support/origin.ts'
import { startProxyUnderTest, until, type ProxyUnderTest } from '../support/proxy-under-test.ts'

const minute = 60_000
const path = '/v2/app/manifests/v1'

async function taggedHere(app: ProxyUnderTest): Promise<Digest | undefined> {
  return await app.local.writable(parseRepositoryName('up/app')).tags.find(parseTag('v1'))
}

/** Pulls the tag, moves it, and holds what the upstream is asked from now on until the gate opens. */
async function moveBehindGate(
  origin: Origin,
  app: ProxyUnderTest,
): Promise<{ old: Digest; moved: Digest; open: () => void }> {
  const { manifest: old } = await origin.addImage('app', 'v1', [])
  assert.equal((await pull(app.url + path)).digest, old)
  const { manifest: moved } = await origin.addImage('app', 'v1', [])
  const gate = deferred()
  origin.dial = (request) => (request.path.startsWith('/v2/app/') ? { wait: gate.promise } : undefined)
  origin.seen.length = 0
  return { old, moved, open: () => gate.resolve() }
}

test('a tag has the freshness of the first rule that matches it, else that of its upstream', async () => {
  await using origin = await startOrigin()
  for (const tag of ['v1', 'v1-rc', 'latest']) await origin.addImage('app', tag, [])
  const tags = [
    { match: /-rc$/u, freshness: 0 },
    { match: /^v\d/u, freshness: 60 * minute },
  ]
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: 5 * minute, tags } })
  const heads = async (): Promise<string[]> => {
    origin.seen.length = 0
    for (const tag of ['v1', 'v1-rc', 'latest']) await pull(`${app.url}/v2/app/manifests/${tag}`)
    return origin.seen.map((line) => line.split('/').at(-1) ?? '')
  }
  await heads()
  assert.deepEqual(await heads(), ['v1-rc'])
  app.pass(6 * minute)
  assert.deepEqual(await heads(), ['v1-rc', 'latest'])
  app.pass(60 * minute)
  assert.deepEqual(await heads(), ['v1', 'v1-rc', 'latest'])
})

for (const [what, milliseconds] of [
  ['back by a day', -86_400_000],
  ['on by a day', 86_400_000],
  ['back by ten years', -315_360_000_000],
  ['on by ten years', 315_360_000_000],
] as const) {
  test(`T-43: a clock that is set ${what} makes no tag fresh, takes nothing away, and costs one HEAD`, async () => {
    await using origin = await startOrigin()
    const { manifest } = await origin.addImage('app', 'v1', [])
    await using app = await startProxyUnderTest(origin, { upstream: { freshness: 60 * minute } })
    await pull(app.url + path)
    app.pass(milliseconds)
    origin.seen.length = 0
    for (let round = 0; round < 3; round++) assert.equal((await pull(app.url + path)).digest, manifest)
    assert.deepEqual(origin.seen, [`HEAD ${path}`])
    await origin.stop()
    app.pass(-milliseconds)
    const stale = await pull(app.url + path)
    assert.deepEqual([stale.status, stale.digest], [200, manifest])
  })
}

test('P3: nobody waits for an upstream that is known to be in trouble, and one question goes on', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: minute } })
  const { old, moved, open } = await moveBehindGate(origin, app)
  app.pass(2 * minute)
  app.condition = { isReachable: false, pullsLeft: undefined }
  for (let client = 0; client < 10; client++) {
    const stale = await ask(app.url + path)
    assert.equal(stale.headers['docker-content-digest'], old)
    assert.match(stale.headers.warning ?? '', /origin\.test:\d+ has failed lately, and was not waited for/)
  }
  await until(() => origin.seen.length > 0)
  assert.deepEqual(origin.seen, [`HEAD ${path}`])
  open()
  await until(async () => (await taggedHere(app)) === moved)
  const fresh = await ask(app.url + path)
  assert.equal(fresh.headers['docker-content-digest'], moved)
  assert.equal(fresh.headers.warning, undefined)
})

test('a question that goes on for nobody fails without noise', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin)
  await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  app.condition = { isReachable: false, pullsLeft: undefined }
  origin.dial = () => ({ reply: { status: 500, headers: {} } })
  app.lines.length = 0
  assert.equal((await ask(app.url + path)).status, 200)
  const failed = 'revalidation in the background failed'
  await until(() => app.lines.some(({ msg }) => msg === failed))
  const loud = app.lines.filter(({ level }) => level === 'warn' || level === 'error')
  assert.deepEqual(
    loud.map(({ msg }) => msg),
    ['stale answer'],
  )
})

test('T-13: an upstream that one client has waited for in vain is not waited for again until it answers', async () => {
  await using origin = await startOrigin()
  await origin.addImage('app', 'v1', [])
  await origin.addImage('app', 'v2', [])
  await using app = await startProxyUnderTest(origin, { proxy: { patience: 20 } })
  for (const tag of ['v1', 'v2']) assert.equal((await pull(`${app.url}/v2/app/manifests/${tag}`)).status, 200)
  const gate = deferred()
  origin.dial = () => ({ wait: gate.promise })
  const warnings = []
  for (const tag of ['v1', 'v2', 'v1']) {
    const { headers } = await pull(`${app.url}/v2/app/manifests/${tag}`)
    warnings.push(/was not waited for|did not answer within/.exec(headers.warning ?? '')?.[0])
  }
  assert.deepEqual(warnings, ['did not answer within', 'was not waited for', 'was not waited for'])
  gate.resolve()
  origin.dial = () => undefined
  await until(async () => (await pull(`${app.url}/v2/app/manifests/v1`)).headers.warning === undefined)
})

test('P3: a client waits for an upstream no longer than it has patience, and its answer counts for the next', async () => {
  await using origin = await startOrigin()
  const proxy = { patience: 20 }
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: minute }, proxy })
  const { old, moved, open } = await moveBehindGate(origin, app)
  app.pass(2 * minute)
  const stale = await ask(app.url + path)
  assert.equal(stale.headers['docker-content-digest'], old)
  assert.match(stale.headers.warning ?? '', /origin\.test:\d+ did not answer within 0\.02 s/)
  open()
  await until(async () => (await taggedHere(app)) === moved)
  assert.deepEqual(origin.seen, [`HEAD ${path}`, `GET /v2/app/manifests/${moved}`])
  const fresh = await ask(app.url + path)
  assert.equal(fresh.headers['docker-content-digest'], moved)
  assert.equal(fresh.headers.warning, undefined)
  assert.equal(origin.seen.length, 2)
})

test('a client without an older answer waits as long as the upstream takes', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { proxy: { patience: 1 } })
  const { manifest } = await origin.addImage('app', 'v1', [])
  const gate = deferred()
  origin.dial = () => ({ wait: gate.promise })
  const asked = ask(app.url + path)
  await until(() => origin.seen.length > 0)
  setTimeout(() => gate.resolve(), 10)
  assert.equal((await asked).headers['docker-content-digest'], manifest)
})

test('a patience of 0 is that of the limits of the upstream', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { proxy: { patience: 0 }, firstByte: 50 })
  const { old } = await moveBehindGate(origin, app)
  const stale = await ask(app.url + path)
  assert.equal(stale.headers['docker-content-digest'], old)
  assert.match(stale.headers.warning ?? '', /sent nothing for too long|did not answer in time/)
})

test('a tag in the last fifth of its freshness is asked for ahead, once, and no client waits', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: 10 * minute } })
  const { old, moved, open } = await moveBehindGate(origin, app)
  const answersWith = async (digest: Digest): Promise<void> => {
    const answer = await ask(app.url + path)
    assert.equal(answer.headers['docker-content-digest'], digest)
    assert.equal(answer.headers.warning, undefined)
  }
  app.pass(8 * minute - 1)
  await answersWith(old)
  app.pass(1)
  app.condition = { isReachable: false, pullsLeft: undefined }
  await answersWith(old)
  await ask(`${app.url}/v2/other/manifests/v1`) // had the tag been asked for, it would have been before this
  assert.deepEqual(origin.seen, ['HEAD /v2/other/manifests/v1'])
  origin.seen.length = 0
  app.condition = { isReachable: true, pullsLeft: undefined }
  for (let client = 0; client < 10; client++) await answersWith(old)
  await until(() => origin.seen.length > 0)
  open()
  await until(async () => (await taggedHere(app)) === moved)
  assert.deepEqual(origin.seen, [`HEAD ${path}`, `GET /v2/app/manifests/${moved}`])
  app.pass(2 * minute)
  await answersWith(moved)
  assert.equal(origin.seen.length, 2)
})

const gone: Fault = { reply: { status: 404, headers: {} } }
const denied: Fault = { reply: { status: 403, headers: {} } }
const failed: Fault = { reply: { status: 500, headers: {} } }

test('T-19: a tag that the upstream has lost is forgotten where that is wanted, its manifest kept by digest', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { onGone: 'forget' } })
  const { manifest } = await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  origin.dial = () => gone
  origin.seen.length = 0
  const answer = await ask(app.url + path)
  assert.equal(answer.status, 404)
  assert.deepEqual(answer.codes, ['MANIFEST_UNKNOWN'])
  assert.deepEqual(origin.seen, [`HEAD ${path}`, `GET ${path}`])
  assert.equal(await taggedHere(app), undefined)
  assert.equal((await pull(`${app.url}/v2/app/manifests/${manifest}`)).digest, manifest)
  assert.equal((await ask(app.url + path)).status, 404)
})

test('T-19: one 404 forgets nothing', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { onGone: 'forget' } })
  const { manifest } = await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  for (const [second, warning] of [
    [undefined, /^undefined$/],
    [failed, /answered 500/],
    [denied, /answered 403/],
  ] as const) {
    origin.dial = ({ method }) => (method === 'HEAD' ? gone : second)
    const answer = await ask(app.url + path)
    assert.equal(answer.headers['docker-content-digest'], manifest)
    assert.match(String(answer.headers.warning), warning)
    assert.equal(await taggedHere(app), manifest)
  }
})

test('T-19: an upstream without HEAD is asked twice, too', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { onGone: 'forget' } })
  await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  origin.dial = ({ method }) => (method === 'HEAD' ? { reply: { status: 405, headers: {} } } : gone)
  origin.seen.length = 0
  assert.equal((await ask(app.url + path)).status, 404)
  assert.deepEqual(origin.seen, [`HEAD ${path}`, `GET ${path}`, `GET ${path}`])
})

test('a tag that the upstream refuses us is refused to clients where that is wanted, and nothing is removed', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { onDenied: 'deny', onGone: 'forget' } })
  const { manifest } = await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  for (const status of [401, 403]) {
    origin.dial = () => ({ reply: { status, headers: {} } })
    const answer = await ask(app.url + path)
    assert.equal(answer.status, 403)
    assert.deepEqual(answer.codes, ['DENIED'])
    assert.equal(await taggedHere(app), manifest)
  }
  origin.dial = () => failed
  assert.equal((await ask(app.url + path)).status, 200)
  origin.dial = () => undefined
  assert.equal((await ask(app.url + path)).headers.warning, undefined)
})

test('a refusal counts again as soon as an upstream that was slow says so', async () => {
  await using origin = await startOrigin()
  const options = { upstream: { onDenied: 'deny' } as const, proxy: { patience: 20 } }
  await using app = await startProxyUnderTest(origin, options)
  await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  const gate = deferred()
  origin.dial = () => ({ wait: gate.promise, reply: { status: 403, headers: {} } })
  assert.equal((await ask(app.url + path)).status, 200)
  gate.resolve()
  origin.dial = () => ({ reply: { status: 403, headers: {} } })
  await until(async () => (await ask(app.url + path)).status === 403)
})

test('credentials of ours that are refused are trouble, not a refusal of the tag', async () => {
  await using origin = await startOrigin()
  const credentials = fixedCredentials({ kind: 'password', username: 'us', password: 'wrong' })
  await using app = await startProxyUnderTest(origin, { upstream: { onDenied: 'deny' }, credentials })
  const { manifest } = await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  origin.dial = () => ({ reply: { status: 401, headers: { 'www-authenticate': 'Basic realm="origin"' } } })
  const stale = await ask(app.url + path)
  assert.equal(stale.headers['docker-content-digest'], manifest)
  assert.match(stale.headers.warning ?? '', /does not accept the credentials/)
})

test('where few pulls are left, a known tag costs a HEAD and no pull, and an unknown one is fetched', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { reserve: 10, freshness: minute } })
  const { manifest } = await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  const askStale = async (): Promise<readonly [unknown, unknown, readonly string[]]> => {
    origin.seen.length = 0
    app.pass(minute)
    const { headers } = await ask(app.url + path)
    return [headers['docker-content-digest'], headers.warning, [...origin.seen]]
  }
  app.condition = { isReachable: true, pullsLeft: 9 }
  assert.deepEqual(await askStale(), [manifest, undefined, [`HEAD ${path}`]])
  origin.seen.length = 0
  await pull(app.url + path)
  assert.deepEqual(origin.seen, [], 'an unchanged tag is fresh again')

  const { manifest: moved } = await origin.addImage('app', 'v1', [])
  const [digest, warning, asked] = await askStale()
  assert.deepEqual([digest, asked], [manifest, [`HEAD ${path}`]])
  assert.match(String(warning), /origin\.test:\d+ leaves us 9 pulls, 10 are kept in reserve/)

  const { manifest: unknown } = await origin.addImage('app', 'v2', [])
  assert.equal((await pull(`${app.url}/v2/app/manifests/v2`)).digest, unknown)
  for (const pullsLeft of [10, undefined]) {
    app.condition = { isReachable: true, pullsLeft }
    assert.equal((await askStale())[0], moved)
  }
})

test('a tag that has moved to a manifest which is here costs no pull, however few are left', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, { upstream: { reserve: 10 } })
  const { manifest: first } = await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  await origin.addImage('app', 'v1', [])
  await pull(app.url + path)
  await origin.repository('app').tags.put(parseTag('v1'), first)
  app.condition = { isReachable: true, pullsLeft: 0 }
  const answer = await ask(app.url + path)
  assert.deepEqual([answer.headers['docker-content-digest'], answer.headers.warning], [first, undefined])
})

// What an upstream does not have is not asked for again and again, and is found as soon as there is a reason to look.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { NegativeAnswers } from '../../src/proxy/negative-answers.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Origin } from '../support/origin.ts'
import { startProxyUnderTest, type ProxyUnderTest } from '../support/proxy-under-test.ts'

const absent = digestOf('not there')
const missing: readonly (readonly [string, string, string])[] = [
  ['a tag', 'manifests/v1', 'MANIFEST_UNKNOWN'],
  ['a manifest', `manifests/${absent}`, 'MANIFEST_UNKNOWN'],
  ['a blob', `blobs/${absent}`, 'BLOB_UNKNOWN'],
]

async function start(origin: Origin): Promise<ProxyUnderTest> {
  return await startProxyUnderTest(origin, { proxy: { negative: 10_000 }, deleteEnabled: true })
}

for (const [what, path, code] of missing) {
  test(`${what} that the upstream does not have costs it one question in a while`, async () => {
    await using origin = await startOrigin()
    await using app = await start(origin)
    const url = `${app.url}/v2/app/${path}`
    const first = await ask(url)
    assert.deepEqual([first.status, first.codes], [404, [code]])
    for (let client = 0; client < 20; client++) assert.deepEqual((await ask(url)).body, first.body)
    assert.equal((await ask(url, { method: 'HEAD' })).status, 404)
    assert.equal(origin.seen.length, 1)
    await ask(`${app.url}/v2/other/${path}`)
    assert.equal(origin.seen.length, 2, 'another repository is another question')
    app.pass(9999)
    await ask(url)
    assert.equal(origin.seen.length, 2)
    app.pass(1)
    await ask(url)
    assert.equal(origin.seen.length, 3)
  })

  test(`${what} that the upstream refuses is remembered, trouble is not`, async () => {
    for (const [status, questions] of [
      [403, 1],
      [401, 2], // it names no challenge, so /v2/ is asked for one
      [429, 1], // it is not asked again before its time
      [500, 3], // three in a row, and it is left alone
    ] as const) {
      await using origin = await startOrigin()
      await using app = await start(origin)
      origin.dial = () => ({ reply: { status, headers: {} } })
      const answers = []
      for (let client = 0; client < 3; client++) answers.push((await ask(`${app.url}/v2/app/${path}`)).status)
      assert.equal(new Set(answers).size, 1)
      assert.equal(origin.seen.length, questions, `${status}`)
    }
  })
}

test('with a memory of 0s each client asks', async () => {
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin)
  for (let client = 0; client < 3; client++) await ask(`${app.url}/v2/app/manifests/v1`)
  assert.equal(origin.seen.length, 3)
})

suite('a tag that was missing is looked for at once', () => {
  const cases: readonly (readonly [string, (origin: Origin, app: ProxyUnderTest) => Promise<void>])[] = [
    [
      'after a blob of its repository is stored',
      async (origin, app) => {
        const blob = randomBlob(1000)
        await origin.addBlob('app', blob.bytes)
        assert.equal((await pull(`${app.url}/v2/app/blobs/${blob.digest}`)).digest, blob.digest)
      },
    ],
    [
      'after a manifest of its repository is stored',
      async (origin, app) => {
        const { manifest } = await origin.addImage('app', 'another', [])
        assert.equal((await pull(`${app.url}/v2/app/manifests/${manifest}`)).digest, manifest)
      },
    ],
    [
      'after something of its repository is purged',
      async (_, app) => {
        const url = `${app.url}/v2/app/manifests/kept`
        assert.equal((await ask(url, { method: 'DELETE' })).status, 202)
      },
    ],
  ]
  for (const [when, change] of cases) {
    test(when, async () => {
      await using origin = await startOrigin()
      await using app = await start(origin)
      await origin.addImage('app', 'kept', [])
      await pull(`${app.url}/v2/app/manifests/kept`)
      const url = `${app.url}/v2/app/manifests/v1`
      assert.equal((await ask(url)).status, 404)
      const { manifest } = await origin.addImage('app', 'v1', [])
      assert.equal((await ask(url)).status, 404)
      await change(origin, app)
      assert.equal((await pull(url)).digest, manifest)
    })
  }
})

test('a manifest that was missing by its digest is fetched where a tag names it now', async () => {
  await using origin = await startOrigin()
  await using app = await start(origin)
  const { manifest } = await origin.addImage('app', 'v1', [])
  origin.dial = () => ({ reply: { status: 404, headers: {} } })
  const byDigest = `${app.url}/v2/app/manifests/${manifest}`
  assert.equal((await ask(byDigest)).status, 404)
  origin.dial = () => undefined
  assert.equal((await ask(byDigest)).status, 404)
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).digest, manifest)
  assert.equal((await pull(byDigest)).digest, manifest)
})

test('what is here is served, whatever is remembered', async () => {
  await using origin = await startOrigin()
  await using app = await start(origin)
  const { bytes, digest } = randomBlob(100)
  const url = `${app.url}/v2/app/blobs/${digest}`
  assert.equal((await ask(url)).status, 404)
  await app.local.repository(parseRepositoryName('up/app')).blobs.put(bytes) // as another process would
  assert.equal((await pull(url)).digest, digest)
})

test('P7: ten thousand answers are remembered, and a repository is forgotten whole', () => {
  const answers = new NegativeAnswers({ lifetime: 1000, now: () => 0 })
  const name = parseRepositoryName('app')
  const error = new RegistryError('MANIFEST_UNKNOWN')
  for (let index = 0; index <= 10_000; index++) answers.add(name, `manifests/v${index}`, error)
  assert.equal(answers.find(name, 'manifests/v0'), undefined)
  assert.equal(answers.find(name, 'manifests/v1'), error)
  answers.clear(name)
  for (let index = 0; index <= 10_000; index++) assert.equal(answers.find(name, `manifests/v${index}`), undefined)
})

// T-30: a mirror whose upstream is a mirror.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'

async function mirrorOf(url: string): Promise<AppUnderTest> {
  return await startAppUnderTest({ proxy: { remoteurl: url } })
}

test('T-30, P4: ours behind ours behind an upstream has the right bytes, and each is sent once', async () => {
  await using origin = await startOrigin()
  const { layers, manifest, config } = await origin.addImage('app', 'v1', [randomBlob(500_000).bytes])
  await using near = await mirrorOf(origin.url)
  await using far = await mirrorOf(near.url)
  const blobs = [...layers, config]
  for (const digest of blobs) {
    const { status, headers } = await ask(`${far.url}/v2/app/blobs/${digest}`, { method: 'HEAD' })
    assert.equal(status, 200)
    assert.equal(headers['docker-content-digest'], digest)
  }
  assert.equal((await ask(`${far.url}/v2/app/manifests/v1`, { method: 'HEAD' })).status, 200)
  const urls = ['manifests/v1', `manifests/${manifest}`, ...blobs.map((digest) => `blobs/${digest}`)]
  for (let round = 0; round < 2; round++) {
    const pulled = await Promise.all(
      urls.flatMap((path) => [pull(`${far.url}/v2/app/${path}`), pull(`${far.url}/v2/app/${path}`)]),
    )
    assert.deepEqual(
      pulled.map(({ status, complete, digest }) => [status, complete, digest]),
      [manifest, manifest, ...blobs].flatMap((digest) => [
        [200, true, digest],
        [200, true, digest],
      ]),
    )
  }
  for (const digest of blobs) {
    assert.equal(origin.seen.filter((request) => request === `GET /v2/app/blobs/${digest}`).length, 1)
  }
  await near[Symbol.asyncDispose]()
  for (const path of urls) assert.equal((await pull(`${far.url}/v2/app/${path}`)).status, 200, path)
})

test('T-30, P10: what the first upstream does not have, or cannot say, the last client hears as it is', async () => {
  await using origin = await startOrigin()
  await origin.addImage('app', 'v1', [randomBlob(1000).bytes])
  await using near = await mirrorOf(origin.url)
  await using far = await mirrorOf(near.url)
  const missing = await ask(`${far.url}/v2/app/manifests/v2`)
  assert.deepEqual([missing.status, missing.codes], [404, ['MANIFEST_UNKNOWN']])
  origin.dial = () => ({ reply: { status: 429, headers: { 'retry-after': '17' }, body: Buffer.from('') } })
  const limited = await ask(`${far.url}/v2/app/manifests/v3`)
  assert.deepEqual([limited.status, limited.codes], [429, ['TOOMANYREQUESTS']])
  assert.ok(Number(limited.headers['retry-after']) <= 17)
})

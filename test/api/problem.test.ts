// What the client of a failed request hears, and what the log says of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { api } from '../../src/api/api.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { listen } from '../../src/http/listener.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { apiOptions } from '../support/api-options.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'

function isOfRequest({ msg }: Record<string, unknown>): boolean {
  return msg === 'request' || msg === 'request failed'
}

test('the log line of a request that failed has the code that its client heard', async () => {
  await using origin = await startOrigin()
  origin.dial = () => ({ reply: { status: 500, headers: {}, body: Buffer.from('') } })
  await using app = await startAppUnderTest({
    proxy: { hosted: ['ours'], upstreams: { 'origin.test': { url: origin.url } } },
  })
  const manifest = Buffer.alloc(4 * 1024 * 1024 + 1)
  const failures = [
    ['502 UNAVAILABLE', '/v2/origin.test/app/manifests/1', {}],
    ['404 UNSUPPORTED', '/nowhere', {}],
    ['417 UNSUPPORTED', '/v2/', { headers: { expect: 'wonders' } }],
    ['405 UNSUPPORTED', '/v2/', { method: 'DELETE' }],
    ['413 MANIFEST_INVALID', '/v2/ours/app/manifests/1', { method: 'PUT', body: manifest }],
    ['404 BLOB_UNKNOWN', `/v2/ours/app/blobs/sha256:${'0'.repeat(64)}`, {}],
  ] as const
  for (const [expected, path, options] of failures) {
    app.lines.length = 0
    const { status, codes } = await ask(app.url + path, options)
    assert.equal(`${status} ${codes.join()}`, expected, path)
    await app.until(isOfRequest)
    assert.deepEqual(
      app.lines.filter(isOfRequest).map((line) => `${String(line['status'])} ${String(line['code'])}`),
      [expected],
      path,
    )
  }
})

test('P10: a push that finds no room is told so, and goes through once there is room again', async () => {
  let fails: string | undefined
  const driver = watchedDriver(inMemoryDriver(), ({ method, path }) => {
    if (fails !== undefined && ['append', 'write'].includes(method)) throw new DriverError(fails, path)
  })
  const store = openLocalRegistry({
    driver,
    descriptors: descriptorCache(openFactStore({ kind: 'none' }, silentLogger)),
    deleteEnabled: false,
    logger: silentLogger,
  })
  await using server = await listen(api(store, apiOptions()), { host: '127.0.0.1', port: 0, logger: silentLogger })
  const { bytes, digest } = randomBlob(100_000)
  const manifest = Buffer.from(
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
  )
  const push = async (): Promise<Answer[]> => [
    await ask(`${server.url}/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes }),
    await ask(`${server.url}/v2/app/manifests/v1`, {
      method: 'PUT',
      body: manifest,
      headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
    }),
  ]
  for (const [code, status, wire, message] of [
    ['ENOSPC', 507, 'UNAVAILABLE', 'the registry has no room left to store this'],
    ['EDQUOT', 507, 'UNAVAILABLE', 'the registry has no room left to store this'],
    ['EIO', 500, 'UNKNOWN', 'unknown error'],
  ] as const) {
    fails = code
    for (const answer of await push()) {
      assert.equal(answer.status, status)
      assert.deepEqual(JSON.parse(answer.body.toString()), { errors: [{ code: wire, message }] })
    }
  }
  fails = undefined
  assert.deepEqual(
    (await push()).map(({ status }) => status),
    [201, 201],
  )
  assert.equal((await ask(`${server.url}/v2/app/blobs/${digest}`)).body.equals(bytes), true)
})

// What the client of a failed request hears, and what the log says of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { api } from '../../src/api/api.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
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

interface FullDisk extends AsyncDisposable {
  readonly url: string
  readonly driver: StorageDriver
  /** What each write fails with; `undefined`: it does not. */
  code: string | undefined
}

async function startOnFullDisk(): Promise<FullDisk> {
  const driver = watchedDriver(inMemoryDriver(), ({ method, path }) => {
    if (disk.code !== undefined && ['append', 'write'].includes(method)) throw new DriverError(disk.code, path)
  })
  const store = openLocalRegistry({
    driver,
    descriptors: descriptorCache(openFactStore({ kind: 'none' }, silentLogger)),
    deleteEnabled: false,
    logger: silentLogger,
  })
  const server = await listen(api(store, apiOptions()), { host: '127.0.0.1', port: 0, logger: silentLogger })
  const disk: FullDisk = {
    url: server.url,
    driver,
    code: undefined,
    [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose](),
  }
  return disk
}

const noRoom = { code: 'UNAVAILABLE', message: 'the registry has no room left to store this' }

test('P10: a push that finds no room is told so, and goes through once there is room again', async () => {
  await using disk = await startOnFullDisk()
  const { bytes, digest } = randomBlob(100_000)
  const type = 'application/vnd.oci.image.index.v1+json'
  const manifest = { schemaVersion: 2, mediaType: type, manifests: [] }
  const push = async (): Promise<Answer[]> => [
    await ask(`${disk.url}/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes }),
    await ask(`${disk.url}/v2/app/manifests/v1`, {
      method: 'PUT',
      body: JSON.stringify(manifest),
      headers: { 'content-type': type },
    }),
  ]
  for (const [code, status, problem] of [
    ['ENOSPC', 507, noRoom],
    ['EDQUOT', 507, noRoom],
    ['EIO', 500, { code: 'UNKNOWN', message: 'unknown error' }],
  ] as const) {
    disk.code = code
    for (const answer of await push()) {
      assert.equal(answer.status, status)
      assert.deepEqual(JSON.parse(answer.body.toString()), { errors: [problem] })
    }
  }
  disk.code = undefined
  for (const { status } of await push()) assert.equal(status, 201)
  assert.ok((await ask(`${disk.url}/v2/app/blobs/${digest}`)).body.equals(bytes))
})

test('an upload that finds no room keeps none; one that fails otherwise may go on', async () => {
  await using disk = await startOnFullDisk()
  for (const [code, status, left] of [
    ['ENOSPC', 507, 0],
    ['EIO', 500, 1],
  ] as const) {
    disk.code = undefined
    const session = await ask(`${disk.url}/v2/${code.toLowerCase()}/blobs/uploads/`, { method: 'POST' })
    const first = await ask(session.headers.location ?? '', { method: 'PATCH', body: 'bytes' })
    assert.equal(first.status, 202)
    disk.code = code
    const second = await ask(first.headers.location ?? '', { method: 'PATCH', body: 'and more' })
    assert.equal(second.status, status)
    const uploads = await disk.driver.list(`/docker/registry/v2/repositories/${code.toLowerCase()}/_uploads`)
    assert.equal(uploads.length, left, code)
  }
})

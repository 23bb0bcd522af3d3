// What operators and load balancers are told, at the debug listener.
import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { until } from '../support/proxy-under-test.ts'

const http = { addr: '127.0.0.1:0', draintimeout: '0s', debug: { addr: '127.0.0.1:0' } }

async function text(url: string, method = 'GET', headers: Record<string, string> = {}): Promise<[number, string]> {
  const { status, body } = await ask(url, { method, headers })
  return [status, body.toString()]
}

test('T-100: alive and ready with the upstream and redis down, and without a word to clients', async () => {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  server.close()
  await once(server, 'close')
  const down = `127.0.0.1:${address.port}`
  await using app = await startAppUnderTest({
    http,
    storage: { inmemory: {}, cache: { blobdescriptor: 'redis' } },
    redis: { addr: down, dialtimeout: '50ms', readtimeout: '20ms' },
    proxy: { remoteurl: `http://${down}` },
  })
  const told = app.lines.filter(({ msg }) => msg === 'debug listener is open')
  const debug = String(told[0]?.['url'])
  assert.deepEqual([told.length, told[0]?.['level'], debug], [1, 'info', app.app.debugUrl])
  for (const path of ['/livez', '/readyz', '/debug/health']) {
    assert.deepEqual(await text(debug + path), [200, '{}'], path)
    assert.equal((await ask(app.url + path)).status, 404)
  }
  assert.equal((await ask(`${debug}/v2/`)).status, 404)
  assert.equal((await ask(`${debug}/metrics`)).status, 404)
})

test('the server is set to down by hand, and up again, by an operator and not by a page in a browser', async () => {
  await using app = await startAppUnderTest({ http })
  const debug = app.app.debugUrl ?? ''
  assert.equal((await text(`${debug}/debug/health/down`))[0], 405)
  assert.equal((await text(`${debug}/debug/health/down`, 'POST', { origin: 'https://evil.example' }))[0], 403)
  assert.equal((await text(`${debug}/readyz`))[0], 200)
  assert.equal((await text(`${debug}/debug/health/down`, 'POST'))[0], 200)
  assert.deepEqual(await text(`${debug}/debug/health`), [503, '{"manual_http_status":"set to down by hand"}'])
  assert.equal((await text(`${debug}/readyz`))[0], 503)
  // Probes come every few seconds, for as long as it lasts: neither kind of answer is news.
  assert.deepEqual(new Set(app.lines.filter(({ method }) => method).map(({ level }) => level)), new Set(['debug']))
  assert.equal((await text(`${debug}/livez`))[0], 200)
  assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  assert.equal((await text(`${debug}/debug/health/up`, 'POST'))[0], 200)
  assert.equal((await text(`${debug}/readyz`))[0], 200)
})

test('a configured check that fails is told with 503, and clients are served all the same', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'down')
  await writeFile(file, '')
  await using app = await startAppUnderTest({
    http,
    health: { storagedriver: { enabled: true }, file: [{ file, interval: '1s' }] },
  })
  const debug = app.app.debugUrl ?? ''
  await app.until(({ msg }) => msg === 'health check fails')
  assert.deepEqual(await text(`${debug}/debug/health`), [503, JSON.stringify({ [file]: 'file exists' })])
  assert.equal((await text(`${debug}/readyz`))[0], 200)
  assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  await rm(file)
  await app.until(({ msg }) => msg === 'health check is well again')
  assert.deepEqual(await text(`${debug}/debug/health`), [200, '{}'])
})

test('P8: the query that a server is asked with is neither in the log nor told', async () => {
  const uri = 'http://127.0.0.1:1/health?token=acanary'
  await using app = await startAppUnderTest({ http, health: { http: [{ uri, interval: '1s' }] } })
  await app.until(({ msg }) => msg === 'health check fails')
  const [status, body] = await text(`${app.app.debugUrl ?? ''}/debug/health`)
  assert.equal(status, 503)
  assert.deepEqual(Object.keys(JSON.parse(body) as object), ['http://127.0.0.1:1/health'])
  assert.doesNotMatch(`${body}${JSON.stringify(app.lines)}`, /acanary/)
})

function storeOn(driver: StorageDriver): LocalStore {
  const facts = openFactStore({ kind: 'none' }, silentLogger)
  return openLocalRegistry({ driver, descriptors: descriptorCache(facts), deleteEnabled: false, logger: silentLogger })
}

const probe = { isReadOnly: false, signal: new AbortController().signal }

test('T-100: storage that cannot be written, read or asked for a tag is not ready', async () => {
  const inner = inMemoryDriver()
  await storeOn(inner).probe(probe)
  assert.deepEqual(await inner.list('/entrepot/tmp'), [])
  for (const [method, under] of [
    ['write', '/entrepot/'],
    ['read', '/entrepot/'],
    ['read', '/docker/registry/v2/repositories/'],
  ] as const) {
    const driver = watchedDriver(inner, (call) => {
      if (call.method === method && call.path.startsWith(under)) throw new DriverError('EIO', 'the disk is gone')
    })
    await assert.rejects(storeOn(driver).probe(probe), /the disk is gone|readiness/, `${method} ${under}`)
  }
})

test('T-100: storage whose tags cannot be looked up any more is not ready, though it can be written', async () => {
  let isHanging = false
  const driver = watchedDriver(inMemoryDriver(), async ({ path }) => {
    if (isHanging && path.startsWith('/docker/registry/v2/repositories/')) await new Promise(() => {})
  })
  const store = storeOn(driver)
  await store.probe(probe)
  isHanging = true
  let isDone = false
  void store.probe(probe).finally(() => (isDone = true))
  for (let turn = 0; turn < 100; turn++) await until(() => true)
  assert.equal(isDone, false)
})

test('where clients may not write, nothing is written to find out', async () => {
  const written: string[] = []
  const driver = watchedDriver(inMemoryDriver(), ({ method, path }) => {
    if (method === 'write') written.push(path)
  })
  await storeOn(driver).probe({ ...probe, isReadOnly: true })
  assert.deepEqual(written, [])
})

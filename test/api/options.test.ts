// OPTIONS: what a browser asks before it lets a page of another site ask (Fetch, «CORS-preflight request»).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { api } from '../../src/api/api.ts'
import { HotReplies } from '../../src/api/hot-replies.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { listen } from '../../src/http/listener.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { apiOptions } from '../support/api-options.ts'
import { ask } from '../support/client.ts'

const digest = `sha256:${'0'.repeat(64)}`

/** What each resource can be asked for, and what is left of that where the registry is read-only. */
const resources: readonly (readonly [path: string, methods: string, reading: string])[] = [
  ['/', 'GET, HEAD', 'GET, HEAD'],
  ['/v2/', 'GET, HEAD', 'GET, HEAD'],
  ['/v2/_catalog', 'GET', 'GET'],
  ['/v2/app/tags/list', 'GET', 'GET'],
  ['/v2/app/manifests/v1', 'GET, HEAD, PUT, DELETE', 'GET, HEAD'],
  [`/v2/app/referrers/${digest}`, 'GET', 'GET'],
  [`/v2/app/blobs/${digest}`, 'GET, HEAD, DELETE', 'GET, HEAD'],
  ['/v2/app/blobs/uploads/', 'POST', ''],
  ['/v2/app/blobs/uploads/x', 'GET, HEAD, PATCH, PUT, DELETE', 'GET, HEAD'],
]

test('every resource says by which methods it can be asked, with the headers that are configured', async () => {
  for (const enabled of [false, true]) {
    await using app = await startAppUnderTest({
      storage: { inmemory: {}, maintenance: { readonly: { enabled } } },
      http: { addr: '127.0.0.1:0', headers: { 'Access-Control-Allow-Origin': ['*'], Allow: ['ours'] } },
    })
    for (const [path, methods, reading] of resources) {
      const { status, headers, body } = await ask(app.url + path, { method: 'OPTIONS' })
      assert.deepEqual(
        [status, headers['allow'], headers['content-length']],
        [200, enabled ? reading : methods, '0'],
        path,
      )
      assert.equal(headers['access-control-allow-origin'], '*')
      assert.equal(headers['docker-distribution-api-version'], 'registry/2.0')
      assert.equal(body.byteLength, 0)
    }
    assert.equal((await ask(`${app.url}/v2/app/nonsense`, { method: 'OPTIONS' })).status, 404)
  }
})

test('it changes nothing, so what was asked a moment ago still holds', async () => {
  const descriptors = descriptorCache(openFactStore({ kind: 'memory' }, silentLogger))
  const store = openLocalRegistry({
    driver: inMemoryDriver(),
    descriptors,
    deleteEnabled: true,
    logger: silentLogger,
  })
  const hotReplies = new HotReplies()
  const handler = api(store, apiOptions({ hotReplies }))
  await using listener = await listen(handler, { host: '127.0.0.1', port: 0, logger: silentLogger })
  const { generation } = hotReplies
  await ask(`${listener.url}/v2/app/manifests/v1`, { method: 'OPTIONS' })
  assert.equal(hotReplies.generation, generation)
  await ask(`${listener.url}/v2/app/manifests/v1`, { method: 'DELETE' })
  assert.notEqual(hotReplies.generation, generation)
})

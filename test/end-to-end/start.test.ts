// T-106: what the server needs others for is no reason not to start.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'

interface Peer extends AsyncDisposable {
  readonly host: string
}

/** Takes connections and says nothing, or is gone. */
async function peer(how: 'silent' | 'down'): Promise<Peer> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).resume()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const close = async (): Promise<void> => {
    if (!server.listening) return
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  if (how === 'down') await close()
  return { host: `127.0.0.1:${address.port}`, [Symbol.asyncDispose]: close }
}

for (const how of ['down', 'silent'] as const) {
  test(`T-106, P9: with upstream and redis ${how} it starts, serves what is here, and says of the rest what is wrong`, async () => {
    await using folder = await temporaryFolder()
    await using origin = await startOrigin()
    const image = await origin.addImage('app', 'v1', [randomBlob(100_000).bytes])
    await using redis = await peer(how)
    const start = async (url: string, patience: string, more: Record<string, unknown> = {}): Promise<AppUnderTest> =>
      await startAppUnderTest({
        ...more,
        storage: {
          filesystem: { rootdirectory: folder.path },
          ...('redis' in more ? { cache: { blobdescriptor: 'redis' } } : {}),
        },
        proxy: {
          upstreams: { up: { url, default: true } },
          freshness: '0s',
          timeouts: { connect: patience, firstbyte: patience, idle: patience, stale: '50ms' },
        },
      })
    {
      await using app = await start(origin.url, '1m')
      assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).digest, image.manifest)
      for (const digest of [image.config, ...image.layers]) {
        const { status, digest: found } = await pull(`${app.url}/v2/app/blobs/${digest}`)
        assert.deepEqual([status, found], [200, digest])
        await app.until((line) => line['msg'] === 'fill stored' && line['digest'] === digest)
      }
    }
    await using upstream = await peer(how)
    const addr = { addr: redis.host, dialtimeout: '50ms', readtimeout: '50ms' }
    await using app = await start(`http://${upstream.host}`, '100ms', { redis: addr })
    assert.equal((await ask(`${app.url}/v2/`)).status, 200)
    const stale = await pull(`${app.url}/v2/app/manifests/v1`)
    assert.deepEqual([stale.status, stale.digest], [200, image.manifest])
    for (const digest of [image.config, ...image.layers]) {
      assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
    }
    const missing = await ask(`${app.url}/v2/other/manifests/v1`)
    assert.ok([502, 504].includes(missing.status), String(missing.status))
    assert.deepEqual(missing.codes, ['UNAVAILABLE'])
  })
}

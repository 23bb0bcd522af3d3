// T-17, T-29, T-30: upstreams, and boxes before them, that answer 200 with something else than what was asked for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Fault, type Origin } from '../support/origin.ts'

async function mirror(origin: Origin): Promise<AppUnderTest> {
  return await startAppUnderTest({ proxy: { upstreams: { up: { url: origin.url, default: true } } } })
}

const html = '<!DOCTYPE html><html><body>Please log in to the hotel network</body></html>'
const json = JSON.stringify({ errors: [{ code: 'UNKNOWN', message: 'something went wrong' }] })
const xml = '<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>'

const others: ReadonlyArray<[what: string, type: string | undefined, body: string]> = [
  ['a page', 'text/html', html],
  ['nothing', undefined, ''],
  ['an error in JSON', 'application/json', json],
  ['an error in XML', 'application/xml', xml],
  ['a page that claims to be bytes', 'application/octet-stream', html],
]

for (const [what, type, body] of others) {
  test(`T-17, P1: a 200 with ${what} is a 502, cold and with twenty waiters, and nothing of it is kept`, async () => {
    await using origin = await startOrigin()
    const { layers, manifest } = await origin.addImage('app', 'v1', [randomBlob(2000).bytes])
    await using app = await mirror(origin)
    const headers = type === undefined ? {} : { 'content-type': type }
    const fault: Fault = { reply: { status: 200, headers, body: Buffer.from(body) } }
    const paths = [`blobs/${layers[0]}`, `manifests/${manifest}`, 'manifests/v1']
    for (const waiters of [1, 20]) {
      for (const path of paths) {
        origin.dial = () => fault
        const asked = Array.from({ length: waiters }, async () => await ask(`${app.url}/v2/app/${path}`))
        for (const { status, codes, body: said } of await Promise.all(asked)) {
          assert.deepEqual([status, codes], [502, ['UNAVAILABLE']], path)
          assert.doesNotMatch(said.toString(), /hotel|something went wrong|SlowDown/)
        }
      }
    }
    origin.dial = () => undefined
    for (const path of paths) {
      const { status, complete, digest } = await pull(`${app.url}/v2/app/${path}`)
      assert.deepEqual({ status, complete }, { status: 200, complete: true }, path)
      assert.ok([layers[0], manifest].includes(digest as typeof manifest), path)
    }
  })
}

const encodings = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync } as const

for (const [encoding, encode] of Object.entries(encodings)) {
  test(`T-29, P1, P7: ${encoding} that nobody asked for is a 502, and is not unpacked to see what it is`, async () => {
    await using origin = await startOrigin()
    const layer = Buffer.alloc(20 * 1024 * 1024)
    const { layers, manifest } = await origin.addImage('app', 'v1', [layer])
    await using app = await mirror(origin)
    const packed = encode(layer)
    origin.dial = () => ({ reply: { status: 200, headers: { 'content-encoding': encoding }, body: packed } })
    for (const path of [`blobs/${layers[0]}`, `manifests/${manifest}`, 'manifests/v1']) {
      const { status, codes, body } = await ask(`${app.url}/v2/app/${path}`)
      assert.deepEqual([status, codes], [502, ['UNAVAILABLE']], path)
      assert.match(body.toString(), /encoded body/)
    }
  })
}

test('T-30, P1: a HEAD whose length is another than that of the GET spoils no pull', async () => {
  await using origin = await startOrigin()
  const { layers, manifest } = await origin.addImage('app', 'v1', [randomBlob(100_000).bytes])
  await using app = await mirror(origin)
  origin.dial = ({ method }) => (method === 'HEAD' ? { headers: { 'content-length': '5' } } : undefined)
  for (const path of [`blobs/${layers[0]}`, 'manifests/v1']) {
    const url = `${app.url}/v2/app/${path}`
    assert.equal((await ask(url, { method: 'HEAD' })).status, 200)
    for (const from of ['upstream', 'here']) {
      const { status, complete, digest } = await pull(url)
      assert.deepEqual({ status, complete }, { status: 200, complete: true }, from)
      assert.ok([layers[0], manifest].includes(digest as typeof manifest), path)
    }
  }
})

// Fills, through the whole server, against a real origin behind a fault dial.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, open, pull, readExactly } from '../support/client.ts'
import { lightPull } from '../support/light-client.ts'
import { pauseAfter, randomBlob, startOrigin, type Origin } from '../support/origin.ts'

const mebibyte = 1024 * 1024

async function mirror(origin: Origin, proxy: Record<string, unknown> = {}): Promise<AppUnderTest> {
  const timeouts = { connect: '2s', firstbyte: '2s', idle: '2s' }
  return await startAppUnderTest({
    proxy: { upstreams: { up: { url: origin.url, default: true } }, timeouts, ...proxy },
  })
}

/** Breaks the connection off. */
async function cut(): Promise<never> {
  throw new Error('cut')
}

test('T-01, P4: 200 clients on one cold 32 MiB blob make one transfer, and see bytes long before it ends', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(32 * mebibyte)
  await origin.addBlob('app', bytes)
  const gate = deferred()
  origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(mebibyte, gate.promise) : undefined)
  // The pause lasts until all of them have their first byte: on a busy machine that is long.
  await using app = await mirror(origin, { timeouts: { idle: '5m' } })
  const url = `${app.url}/v2/app/blobs/${digest}`

  const clients = Array.from({ length: 200 }, () => lightPull(url))
  await Promise.all(clients.map(async ({ firstByte }) => await firstByte))
  assert.ok(origin.bytesSent(`/v2/app/blobs/${digest}`) <= mebibyte, 'the transfer is not over')
  gate.resolve()
  const answers = await Promise.all(clients.map(async ({ done }) => await done))

  assert.deepEqual(new Set(answers.map((answer) => answer.digest)), new Set([digest]))
  assert.ok(answers.every(({ status, complete }) => status === 200 && complete))
  assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`) / bytes.length, 1)
  assert.deepEqual(origin.seen, [`GET /v2/app/blobs/${digest}`])
})

test('P1: the last byte of every answer waits for the digest, also of a range', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  const gate = deferred()
  origin.dial = () => pauseAfter(bytes.length - 1, gate.promise)
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app/blobs/${digest}`

  const whole = await open(url)
  const part = await open(url, { range: 'bytes=1000-1999' })
  assert.equal(part.statusCode, 206)
  assert.equal(part.headers['content-range'], `bytes 1000-1999/${bytes.length}`)
  assert.deepEqual(await readExactly(part, 999), bytes.subarray(1000, 1999))
  await readExactly(whole, bytes.length - 2)
  assert.equal(whole.complete, false)
  assert.equal(part.complete, false)
  gate.resolve()
  assert.deepEqual(await readExactly(part, 1), bytes.subarray(1999, 2000))
  assert.equal(origin.seen.length, 1)
  whole.destroy()
})

test('T-16, P1: wrong bytes of the right length are never a complete answer, and nothing of them is kept', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = () => ({
    async *body(body) {
      for await (const chunk of body) yield Buffer.from(chunk).fill(7)
    },
  })
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app/blobs/${digest}`

  const answers = await Promise.all([pull(url), pull(url), pull(url, { range: 'bytes=0-9' })])
  assert.deepEqual(
    answers.map(({ complete }) => complete),
    [false, false, false],
  )
  origin.dial = () => undefined
  assert.equal((await pull(url)).digest, digest)
})

test('T-16, P1: a small blob with wrong bytes is refused in the envelope', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(1000)
  await origin.addBlob('app', bytes)
  origin.dial = () => ({
    async *body(body) {
      for await (const chunk of body) yield Buffer.from(chunk).fill(7)
    },
  })
  await using app = await mirror(origin)
  const answer = await ask(`${app.url}/v2/app/blobs/${digest}`)
  assert.equal(answer.status, 502)
  assert.deepEqual(answer.codes, ['UNAVAILABLE'])
  assert.match(answer.body.toString(), /do not match/)
})

test('T-10, P1: a transfer that breaks off for good destroys its readers, and the next pull is right', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  for (const at of [0, 1, 500_000, bytes.length - 1]) {
    await using app = await mirror(origin, { fill: { retries: 2 } })
    const url = `${app.url}/v2/app/blobs/${digest}`
    const first = `bytes 0-`
    origin.seen.length = 0
    origin.dial = ({ headers }) => pauseAfter(headers.range === undefined || headers.range === first ? at : 0, cut())
    const answers = await Promise.all([pull(url), pull(url)])
    for (const answer of answers) assert.equal(answer.complete && answer.status === 200, false, `cut at ${at}`)
    assert.equal(origin.seen.length, 3, 'two tries more, and no fourth')
    origin.dial = () => undefined
    assert.equal((await pull(url)).digest, digest)
  }
})

test('T-06: a reader that leaves does not end the fill, not even the last one', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  const gate = deferred()
  origin.dial = () => pauseAfter(mebibyte, gate.promise)
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app/blobs/${digest}`

  const leaving = await open(url)
  const staying = pull(url, { range: 'bytes=0-0' })
  leaving.destroy()
  gate.resolve()
  assert.equal((await staying).size, 1)
  await origin.stop()
  assert.equal((await pull(url)).digest, digest)
})

test('T-07, P4: a reader that does not read slows nobody', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(24 * mebibyte)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app/blobs/${digest}`

  const slow = await open(url) // its body is not read until the others are done
  const fast = await Promise.all([pull(url), pull(url), pull(url)])
  for (const { digest: got } of fast) assert.equal(got, digest)
  assert.equal(await hashOf(slow), digest)
  assert.equal(origin.seen.length, 1)
})

test('T-27: a Range on a miss is answered 206 from the running fill, and the whole blob is kept', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(3 * mebibyte)
  await origin.addBlob('app', bytes)
  const cases: [string, number, number][] = [
    ['bytes=100-299', 100, 300],
    ['bytes=3000000-', 3_000_000, bytes.length],
    ['bytes=-10', bytes.length - 10, bytes.length],
    ['bytes=0-99999999', 0, bytes.length],
  ]
  for (const [range, start, end] of cases) {
    origin.seen.length = 0
    await using app = await mirror(origin)
    const url = `${app.url}/v2/app/blobs/${digest}`
    const answer = await ask(url, { headers: { range } })
    assert.equal(answer.status, 206, range)
    assert.equal(answer.headers['content-range'], `bytes ${start}-${end - 1}/${bytes.length}`)
    assert.ok(answer.body.equals(bytes.subarray(start, end)), range)
    assert.equal((await pull(url)).digest, digest)
    assert.equal(origin.seen.length, 1)
  }
})

test('T-27: a Range that misses the blob is 416 with its size, cold and warm', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(100_000)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin)
  for (let round = 0; round < 2; round += 1) {
    const answer = await ask(`${app.url}/v2/app/blobs/${digest}`, { headers: { range: 'bytes=100000-' } })
    assert.equal(answer.status, 416)
    assert.equal(answer.headers['content-range'], 'bytes */100000')
    assert.deepEqual(answer.codes, ['RANGE_INVALID'])
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  }
})

test('T-27: several ranges come as parts of one answer, cold and warm', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(200_000)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin)
  for (let round = 0; round < 2; round += 1) {
    const answer = await ask(`${app.url}/v2/app/blobs/${digest}`, { headers: { range: 'bytes=10-19,150000-150009' } })
    assert.equal(answer.status, 206)
    const boundary = /boundary=(.+)$/.exec(answer.headers['content-type'] ?? '')?.[1]
    assert.ok(boundary !== undefined)
    const parts = answer.body.toString('latin1').split(`--${boundary}`)
    assert.equal(parts.length, 4)
    assert.ok(parts[1]?.includes('content-range: bytes 10-19/200000'))
    assert.ok(parts[1]?.includes(bytes.subarray(10, 20).toString('latin1')))
    assert.ok(parts[2]?.includes(bytes.subarray(150_000, 150_010).toString('latin1')))
    assert.equal(Number(answer.headers['content-length']), answer.body.length)
  }
})

test('an upstream that does not say the size is answered when the blob is whole', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = () => ({ headers: { 'content-length': undefined } })
  await using app = await mirror(origin)
  const answer = await pull(`${app.url}/v2/app/blobs/${digest}`)
  assert.equal(answer.digest, digest)
  assert.equal(answer.headers['content-length'], String(bytes.length))
})

test('the empty blob is pulled like any other', async () => {
  await using origin = await startOrigin()
  const digest = await origin.addBlob('app', Buffer.alloc(0))
  await using app = await mirror(origin)
  const answer = await pull(`${app.url}/v2/app/blobs/${digest}`)
  assert.deepEqual([answer.status, answer.size, answer.complete], [200, 0, true])
})

test('T-30: HEAD of an uncached blob is answered from the upstream, without fetching it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin)
  const answer = await ask(`${app.url}/v2/app/blobs/${digest}`, { method: 'HEAD' })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['content-length'], String(bytes.length))
  assert.equal(answer.headers['docker-content-digest'], digest)
  assert.deepEqual(origin.seen, [`HEAD /v2/app/blobs/${digest}`])
})

test('T-02: a blob that another repository brought is linked after proof, not fetched again', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('one', bytes)
  await origin.addBlob('two', bytes)
  await using app = await mirror(origin)
  await pull(`${app.url}/v2/one/blobs/${digest}`)
  assert.equal((await pull(`${app.url}/v2/two/blobs/${digest}`)).digest, digest)
  assert.deepEqual(origin.seen, [`GET /v2/one/blobs/${digest}`, `HEAD /v2/two/blobs/${digest}`])
})

test('a manifest that is here proves its layers, also when the upstream is gone', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('one', bytes)
  const image = await origin.addImage('two', 'latest', [bytes])
  await using app = await mirror(origin)
  await pull(`${app.url}/v2/one/blobs/${digest}`)
  await pull(`${app.url}/v2/two/manifests/${image.manifest}`)
  await origin.stop()
  assert.equal((await pull(`${app.url}/v2/two/blobs/${digest}`)).digest, digest)
})

test('P8: a blob that is stored, or being filled, is not shown to a repository without a right to it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('one', bytes)
  await origin.addBlob('other', Buffer.from('x'))
  const gate = deferred()
  origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(1000, gate.promise) : undefined)
  await using app = await mirror(origin)
  const running = pull(`${app.url}/v2/one/blobs/${digest}`)
  const joined = await ask(`${app.url}/v2/other/blobs/${digest}`)
  gate.resolve()
  assert.equal((await running).digest, digest)
  const stored = await ask(`${app.url}/v2/other/blobs/${digest}`)
  for (const answer of [joined, stored]) {
    assert.equal(answer.status, 404)
    assert.deepEqual(answer.codes, ['BLOB_UNKNOWN'])
  }
  assert.equal((await ask(`${app.url}/v2/other/blobs/${digest}`, { method: 'HEAD' })).status, 404)
})

test('P4: repositories that share a layer share its fill', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('one', bytes)
  await origin.addBlob('two', bytes)
  const gate = deferred()
  origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(1000, gate.promise) : undefined)
  await using app = await mirror(origin)
  const one = await open(`${app.url}/v2/one/blobs/${digest}`)
  const two = await open(`${app.url}/v2/two/blobs/${digest}`)
  gate.resolve()
  assert.deepEqual([await hashOf(one), await hashOf(two)], [digest, digest])
  assert.deepEqual(origin.seen, [`GET /v2/one/blobs/${digest}`, `HEAD /v2/two/blobs/${digest}`])
  await origin.stop()
  assert.equal((await pull(`${app.url}/v2/two/blobs/${digest}`)).digest, digest)
})

for (const [what, fault] of [
  ['does not have it', undefined],
  ['refuses it', { reply: { status: 403, headers: {} } }],
  ['is down', { reply: { status: 503, headers: {} } }],
] as const) {
  test(`P4: who has joined the fill of another repository, whose upstream ${what}, has the blob from his own`, async () => {
    await using strange = await startOrigin()
    await using origin = await startOrigin()
    const { bytes, digest } = randomBlob(100_000)
    await origin.addBlob('app', bytes)
    const gate = deferred()
    strange.dial = () => ({ ...fault, wait: gate.promise })
    await using app = await startAppUnderTest({
      proxy: { upstreams: { strange: { url: strange.url }, up: { url: origin.url } } },
    })
    const first = ask(`${app.url}/v2/strange/app/blobs/${digest}`)
    while (strange.seen.length === 0) await new Promise(setImmediate)
    const joined = Array.from({ length: 20 }, async () => await pull(`${app.url}/v2/up/app/blobs/${digest}`))
    while (origin.seen.length === 0) await new Promise(setImmediate)
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate) // their right to it is proven meanwhile
    gate.resolve()
    assert.notEqual((await first).status, 200)
    for (const answer of await Promise.all(joined)) assert.deepEqual([answer.status, answer.digest], [200, digest])
    assert.deepEqual(origin.seen, [`HEAD /v2/app/blobs/${digest}`, `GET /v2/app/blobs/${digest}`])
  })
}

test('P4: requests that come in one packet share one fill', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(200_000)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin)
  const { hostname, port } = new URL(app.url)
  const socket = connect(Number(port), hostname)
  const get = (last: string): string => `GET /v2/app/blobs/${digest} HTTP/1.1\r\nhost: a\r\nconnection: ${last}\r\n\r\n`
  socket.write(get('keep-alive') + get('keep-alive') + get('close'))
  let received = 0
  for await (const chunk of socket) received += (chunk as Buffer).length
  assert.ok(received > 3 * bytes.length)
  assert.deepEqual(origin.seen, [`GET /v2/app/blobs/${digest}`])
})

test('P8: naming a foreign layer is no proof of a right to it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(100_000)
  await origin.addBlob('private', bytes)
  const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar'
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf('{}'), size: 2 }
  const layers = [{ mediaType, digest, size: bytes.length, urls: ['https://example.com/layer'] }]
  const manifest = await origin.addManifest('public', 'v1', {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config,
    layers,
  })
  await using app = await mirror(origin)
  assert.equal((await pull(`${app.url}/v2/private/blobs/${digest}`)).digest, digest)
  assert.equal((await pull(`${app.url}/v2/public/manifests/${manifest}`)).status, 200)
  assert.equal((await ask(`${app.url}/v2/public/blobs/${digest}`)).status, 404)
})

test('P8: a manifest that has been taken away is no proof of a right any more', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(100_000)
  await origin.addBlob('private', bytes)
  const { manifest } = await origin.addImage('app', 'v1', [bytes])
  await using app = await startAppUnderTest({
    storage: { inmemory: {}, delete: { enabled: true } },
    proxy: { upstreams: { up: { url: origin.url, default: true } } },
  })
  assert.equal((await pull(`${app.url}/v2/private/blobs/${digest}`)).digest, digest)
  assert.equal((await pull(`${app.url}/v2/app/manifests/${manifest}`)).status, 200)
  assert.equal((await ask(`${app.url}/v2/app/manifests/${manifest}`, { method: 'DELETE' })).status, 202)
  origin.dial = ({ path }) => (path.startsWith('/v2/app/') ? { reply: { status: 404, headers: {} } } : undefined)
  assert.equal((await ask(`${app.url}/v2/app/blobs/${digest}`)).status, 404)
})

test('P4: clients that ask for the size of one cold blob make one HEAD', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(1000)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app/blobs/${digest}`
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(url, { method: 'HEAD' })))
  assert.ok(answers.every(({ status }) => status === 200))
  assert.ok(origin.seen.length < 100, `${origin.seen.length} HEADs`)
})

async function hashOf(response: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of response) hash.update(chunk)
  return `sha256:${hash.digest('hex')}`
}

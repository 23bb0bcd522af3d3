// The whole server in front of upstreams that are down, and of their mirrors.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Fault, type Image, type Origin } from '../support/origin.ts'

const timeouts = { connect: '2s', firstbyte: '1s', idle: '1s' }

interface MirrorInput {
  readonly url: string
  readonly trusted?: boolean
}

async function proxyOf(origin: Origin, ...mirrors: (string | MirrorInput)[]): Promise<AppUnderTest> {
  const upstreams = { up: { url: origin.url, default: true, mirrors } }
  return await startAppUnderTest({ proxy: { upstreams, freshness: '0s', timeouts } })
}

/** Puts one image, the same bytes, at each of the origins. */
async function addEverywhere(origins: readonly Origin[], layer: Buffer): Promise<Image> {
  const config = Buffer.from('{"architecture":"amd64","os":"linux"}')
  const descriptor = (mediaType: string, bytes: Buffer): object => {
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength }
  }
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
  }
  for (const origin of origins) {
    await origin.addBlob('app', config)
    await origin.addBlob('app', layer)
    await origin.addManifest('app', 'v1', document)
  }
  const manifest = digestOf(Buffer.from(JSON.stringify(document)))
  return { manifest, config: digestOf(config), layers: [digestOf(layer)] }
}

async function pullByDigest(app: AppUnderTest, { manifest, config, layers }: Image): Promise<void> {
  assert.equal((await pull(`${app.url}/v2/app/manifests/${manifest}`)).digest, manifest)
  for (const digest of [config, ...layers]) {
    const blob = await pull(`${app.url}/v2/app/blobs/${digest}`)
    assert.deepEqual([blob.digest, blob.complete], [digest, true])
  }
}

const dead: Fault = { reply: { status: 503, headers: {} } }

/** An upstream that is left alone stays so, however slow the machine is. */
function stopClock(context: TestContext): void {
  context.mock.method(performance, 'now', () => 0)
}

test('T-13, P3: a hung upstream is dialled now and then: what is here is served, what is not is refused at once', async () => {
  await using origin = await startOrigin()
  const image = await addEverywhere([origin], randomBlob(1000).bytes)
  await using app = await proxyOf(origin)
  await pullByDigest(app, image)
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).digest, image.manifest)
  origin.dial = () => ({ wait: new Promise(() => {}) })
  origin.seen.length = 0
  for (let time = 0; time < 3; time += 1) await ask(`${app.url}/v2/app/manifests/v1`)
  for (let time = 0; time < 20; time += 1) {
    const here = await ask(`${app.url}/v2/app/manifests/v1`)
    assert.equal(here.status, 200)
    assert.match(here.headers.warning ?? '', /^299 - /)
    const absent = await ask(`${app.url}/v2/app/manifests/v2`)
    assert.equal(absent.status, 504)
    assert.deepEqual(absent.codes, ['UNAVAILABLE'])
  }
  // One for each probe besides, of which there are few even where all this takes long.
  assert.ok(origin.seen.length >= 3 && origin.seen.length <= 8, `${origin.seen.length} requests`)
  assert.equal(app.lines.filter(({ msg }) => String(msg).startsWith('upstream does not answer')).length, 1)
  const refused = app.lines.find(({ status, reference }) => status === 504 && reference === 'v2')
  assert.ok(refused !== undefined)
})

test('P10: whoever is refused because the upstream is left alone hears when to come again', async (context) => {
  stopClock(context)
  await using origin = await startOrigin()
  origin.dial = () => dead
  await using app = await proxyOf(origin)
  const absent = `${app.url}/v2/app/manifests/v1`
  for (let time = 0; time < 3; time += 1) assert.equal((await ask(absent)).headers['retry-after'], undefined)
  const refused = await ask(absent)
  assert.equal(refused.status, 502)
  assert.ok(Number(refused.headers['retry-after']) >= 1)
  assert.match(refused.body.toString(), /answered 503.*has not answered lately, and is asked again in \d+ s/)
})

test('who asks for a blob while the upstream is left alone is refused at once, not after a second try', async (context) => {
  stopClock(context)
  await using origin = await startOrigin()
  origin.dial = () => dead
  await using app = await proxyOf(origin)
  for (let time = 0; time < 3; time += 1) await ask(`${app.url}/v2/app/manifests/v1`)
  const refused = await ask(`${app.url}/v2/app/blobs/${randomBlob(1000).digest}`)
  assert.equal(refused.status, 502)
  assert.match(refused.body.toString(), /has not answered lately/)
  assert.ok(!app.lines.some(({ msg }) => msg === 'transfer broke, it goes on'))
})

test('P3, P5: pulls by digest go on from a mirror when the upstream dies', async () => {
  await using origin = await startOrigin()
  await using mirror = await startOrigin()
  const first = await addEverywhere([origin, mirror], randomBlob(300_000).bytes)
  await using app = await proxyOf(origin, mirror.url)
  await pullByDigest(app, first)
  assert.deepEqual(mirror.seen, [])
  const second = await addEverywhere([origin, mirror], randomBlob(300_000).bytes)
  await origin.stop()
  await pullByDigest(app, second)
  await pullByDigest(app, first)
})

test('P8: what a tag means is never learned from a mirror that is not trusted', async () => {
  await using origin = await startOrigin()
  await using mirror = await startOrigin()
  await addEverywhere([origin, mirror], randomBlob(10).bytes)
  await using app = await proxyOf(origin, { url: mirror.url })
  origin.dial = () => dead
  assert.equal((await ask(`${app.url}/v2/app/manifests/v1`)).status, 502)
  assert.equal((await ask(`${app.url}/v2/app/tags/list`)).status, 502)
  assert.deepEqual(mirror.seen, [])
})

test('P5: a trusted mirror speaks for the upstream while that is down', async () => {
  await using origin = await startOrigin()
  await using mirror = await startOrigin()
  const image = await addEverywhere([origin, mirror], randomBlob(10).bytes)
  await using app = await proxyOf(origin, { url: mirror.url, trusted: true })
  origin.dial = () => dead
  const tagged = await ask(`${app.url}/v2/app/manifests/v1`)
  assert.equal(tagged.headers['docker-content-digest'], image.manifest)
  assert.equal(tagged.headers.warning, undefined)
  assert.deepEqual(JSON.parse((await ask(`${app.url}/v2/app/tags/list`)).body.toString()), {
    name: 'app',
    tags: ['v1'],
  })
})

test('T-16: what a mirror sends for a digest is complete only where it is right', async () => {
  await using origin = await startOrigin()
  await using mirror = await startOrigin()
  const image = await addEverywhere([origin, mirror], randomBlob(300_000).bytes)
  const [layer = assert.fail()] = image.layers
  await using app = await proxyOf(origin, { url: mirror.url, trusted: true })
  origin.dial = () => dead
  mirror.dial = ({ method }) => (method === 'GET' ? { body: flipped } : undefined)
  const lie = await pull(`${app.url}/v2/app/blobs/${layer}`)
  assert.equal(lie.complete, false)
  const manifest = await ask(`${app.url}/v2/app/manifests/${image.manifest}`)
  assert.equal(manifest.status, 502)
  const small = await ask(`${app.url}/v2/app/blobs/${image.config}`)
  assert.equal(small.status, 502)
  const said = small.body.toString()
  assert.ok(said.includes(`${new URL(mirror.url).host} sent bytes that do not match`), `not who it was: ${said}`)
  mirror.dial = () => undefined
  await pullByDigest(app, image) // nothing wrong was kept
})

async function* flipped(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of body) {
    const copy = Buffer.from(chunk)
    copy[0] = (copy[0] ?? 0) ^ 1
    yield copy
  }
}

test('private content stays private: where the upstream says no, no mirror is asked', async () => {
  await using origin = await startOrigin()
  await using mirror = await startOrigin()
  const image = await addEverywhere([origin, mirror], randomBlob(10).bytes)
  await using app = await proxyOf(origin, { url: mirror.url, trusted: true })
  origin.dial = () => ({ reply: { status: 403, headers: {} } })
  for (const path of ['manifests/v1', `manifests/${image.manifest}`, `blobs/${image.config}`]) {
    assert.equal((await ask(`${app.url}/v2/app/${path}`)).status, 403)
  }
  assert.deepEqual(mirror.seen, [])
})

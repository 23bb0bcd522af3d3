// A whole mirror whose disk is bounded, against a real origin.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { blobBytes, diskUsage } from '../ledger/fixture.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Image, type Origin } from '../support/origin.ts'

const mebibyte = 1024 * 1024

async function mirror(
  origin: Pick<Origin, 'url'>,
  folder: string,
  cache: Record<string, unknown>,
): Promise<AppUnderTest> {
  return await startAppUnderTest({
    storage: { filesystem: { rootdirectory: folder } },
    proxy: { upstreams: { up: { url: origin.url, default: true } }, cache },
  })
}

async function pullImage(url: string, name: string, tag: string, image: Image): Promise<void> {
  assert.equal((await pull(`${url}/v2/${name}/manifests/${tag}`)).digest, image.manifest)
  for (const digest of [image.config, ...image.layers]) {
    assert.equal((await pull(`${url}/v2/${name}/blobs/${digest}`)).digest, digest)
  }
}

async function within(app: AppUnderTest, folder: string, limit: number): Promise<void> {
  const deadline = performance.now() + 20_000
  while ((await blobBytes(folder)) > limit) {
    assert.ok(performance.now() < deadline, `${await blobBytes(folder)} bytes: ${app.text().slice(-2000)}`)
    await new Promise(setImmediate)
  }
}

test('P7: a mirror pulls three times what it may keep, and keeps what was pulled last (T-51, T-54)', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const limit = 6 * mebibyte
  const images: Image[] = []
  const shared = randomBlob(mebibyte / 2).bytes
  for (let number = 0; number < 16; number++) {
    images.push(await origin.addImage('org/app', `v${number}`, [shared, randomBlob(mebibyte).bytes]))
  }
  {
    await using app = await mirror(origin, folder.path, { maxsize: limit })
    const hosted = randomBlob(mebibyte).bytes
    const put = await ask(`${app.url}/v2/local/mine/blobs/uploads/?digest=${digestOf(hosted)}`, {
      method: 'POST',
      body: hosted,
    })
    assert.equal(put.status, 201)
    for (const [number, image] of images.entries()) await pullImage(app.url, 'org/app', `v${number}`, image)
    await within(app, folder.path, limit)
    await app.until(({ msg }) => msg === 'evicted') // which is said when a round ends, a moment after the last file went
    origin.seen.length = 0
    await pullImage(app.url, 'org/app', 'v15', images[15] ?? assert.fail())
    assert.deepEqual(origin.seen, [])
    assert.equal((await pull(`${app.url}/v2/local/mine/blobs/${digestOf(hosted)}`)).digest, digestOf(hosted))
    // What went comes back, though the tag is still fresh.
    await pullImage(app.url, 'org/app', 'v0', images[0] ?? assert.fail())
  }
  await using again = await mirror(origin, folder.path, { maxsize: 3 * mebibyte })
  await within(again, folder.path, 3 * mebibyte)
  assert.ok((await diskUsage(folder.path)) < 5 * mebibyte)
  await pullImage(again.url, 'org/app', 'v7', images[7] ?? assert.fail())
})

test('a fill that fails costs no room (T-51)', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const limit = 3 * mebibyte
  await using app = await mirror(origin, folder.path, { maxsize: limit })
  const kept = await origin.addImage('org/app', 'kept', [randomBlob(mebibyte).bytes])
  await pullImage(app.url, 'org/app', 'kept', kept)
  for (let number = 0; number < 4; number++) {
    const { bytes, digest } = randomBlob(2 * mebibyte)
    await origin.addBlob('org/app', bytes)
    origin.dial = ({ method, path }) => (method === 'GET' && path.includes(digest) ? { body: wrong } : undefined)
    const answer = await pull(`${app.url}/v2/org/app/blobs/${digest}`)
    assert.ok(answer.status !== 200 || !answer.complete)
  }
  origin.seen.length = 0
  await pullImage(app.url, 'org/app', 'kept', kept)
  assert.deepEqual(origin.seen, [])
  assert.ok(!app.lines.some(({ msg }) => msg === 'evicted'))
})

async function* wrong(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of body) yield Buffer.alloc(chunk.byteLength)
}

test('without a bound and a time to live, no ledger is kept', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  await using app = await mirror(origin, folder.path, {})
  await pullImage(app.url, 'org/app', 'v1', await origin.addImage('org/app', 'v1', []))
  assert.ok(!app.lines.some(({ msg }) => msg === 'survey of the storage begins'))
})

// What a push of a manifest is answered, through the whole server.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'

const config = { mediaType: mediaTypes.ociImageConfig, digest: digestOf('{}'), size: 2 }
const image = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] }

async function put(app: AppUnderTest, document: unknown, contentType?: string): Promise<Answer> {
  const headers = contentType === undefined ? {} : { 'content-type': contentType }
  const body = JSON.stringify(document)
  return await ask(`${app.url}/v2/app/manifests/x`, { method: 'PUT', headers, body })
}

async function pushConfig(app: AppUnderTest): Promise<void> {
  const query = `digest=${config.digest}`
  assert.equal((await ask(`${app.url}/v2/app/blobs/uploads/?${query}`, { method: 'POST', body: '{}' })).status, 201)
}

test('a manifest may hold keys of its own, whatever is in them', async () => {
  await using app = await startAppUnderTest({})
  await pushConfig(app)
  assert.equal((await put(app, { ...image, extra: { Size: 1, Layers: [] } })).status, 201)
  assert.deepEqual((await put(app, { ...image, config: { ...config, Size: 1 } })).codes, ['MANIFEST_INVALID'])
})

test('a Content-Type that is empty is none', async () => {
  await using app = await startAppUnderTest({})
  await pushConfig(app)
  for (const contentType of ['', ' ', ';']) assert.equal((await put(app, image, contentType)).status, 201)
  const { mediaType, ...untyped } = image
  assert.equal((await put(app, untyped, '')).status, 201)
  const got = await ask(`${app.url}/v2/app/manifests/x`)
  assert.equal(got.headers['content-type'], mediaType)
})

test('an image without a config or without layers is refused, whether or not it says that it is one', async () => {
  await using app = await startAppUnderTest({})
  await pushConfig(app)
  const bad: unknown[] = [
    { schemaVersion: 2, layers: [] },
    { schemaVersion: 2, config },
    { ...image, layers: undefined },
    { ...image, mediaType: mediaTypes.dockerSchema1 },
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [], blobs: [config] },
  ]
  for (const document of bad) {
    const answer = await put(app, document)
    assert.deepEqual([answer.status, answer.codes], [400, ['MANIFEST_INVALID']], JSON.stringify(document))
  }
})

test('what has no class is refused where classes are given, unless it is an index', async () => {
  const list = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }
  const artifact = { schemaVersion: 2, mediaType: mediaTypes.ociArtifactManifest, blobs: [] }
  const foreign = { schemaVersion: 2, mediaType: 'application/vnd.foreign+json' }
  const cases: readonly (readonly [classes: string[], document: unknown, status: number])[] = [
    [['image'], image, 201],
    [['plugin'], image, 403],
    [['plugin'], list, 201],
    [['image', 'plugin'], artifact, 403],
    [['image', 'plugin'], foreign, 403],
    [[], artifact, 201],
  ]
  for (const [classes, document, status] of cases) {
    await using app = await startAppUnderTest({ policy: { repository: { classes } } })
    await pushConfig(app)
    const answer = await put(app, document)
    assert.equal(answer.status, status, JSON.stringify([classes, document]))
    assert.deepEqual(answer.codes, status === 403 ? ['DENIED'] : [])
  }
})

test('P10: of whatever many things that are missing, each is named', async () => {
  await using app = await startAppUnderTest({})
  const missing = (count: number): unknown[] =>
    Array.from({ length: count }, (_, at) => ({ ...config, digest: digestOf(`missing ${at}`) }))
  for (const document of [
    { ...image, config: missing(1)[0], layers: missing(5000) },
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: missing(5000) },
  ]) {
    const answer = await put(app, document)
    assert.equal(answer.status, 400)
    assert.equal(answer.codes.length, 5000)
    assert.ok(answer.codes.every((code) => code === 'MANIFEST_BLOB_UNKNOWN'))
    assert.ok(answer.body.includes(digestOf('missing 4999')))
  }
})

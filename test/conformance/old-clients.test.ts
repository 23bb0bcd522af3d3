// Clients of before schema 2 and before lists, and what they push (docker registry API v2; distribution 2.x).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseSignedManifest } from '../../src/schema1/manifest.ts'
import { emptyLayer, emptyLayerDigest } from '../../src/schema1/empty-layer.ts'
import { encodeBase64url } from '../../src/schema1/base64url.ts'
import { signManifest } from '../../src/schema1/sign.ts'
import { documentWith, payload, protectedHeader, rfcKey } from '../schema1/fixture.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'

const everything = Object.values(mediaTypes).join(', ')

async function registry(enabled: boolean): Promise<AppUnderTest> {
  return await startAppUnderTest({ compatibility: { schema1: { enabled } } })
}

async function pushBlob(app: AppUnderTest, bytes: Uint8Array): Promise<{ digest: string; size: number }> {
  const digest = digestOf(bytes)
  const answer = await ask(`${app.url}/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  assert.equal(answer.status, 201)
  return { digest, size: bytes.byteLength }
}

async function put(
  app: AppUnderTest,
  reference: string,
  mediaType: string,
  body: string | Uint8Array,
): Promise<Answer> {
  const headers = { 'content-type': mediaType }
  return await ask(`${app.url}/v2/app/manifests/${reference}`, { method: 'PUT', body, headers })
}

/** A schema 2 image with one layer that holds something and one line of history that does not. */
async function pushImage(app: AppUnderTest, architecture: string, tag: string): Promise<Buffer> {
  const layer = await pushBlob(app, Buffer.from(`layer of ${architecture}`))
  const config = await pushBlob(
    app,
    Buffer.from(
      JSON.stringify({
        architecture,
        os: 'linux',
        config: {},
        rootfs: { type: 'layers', diff_ids: [digestOf('diff')] },
        history: [
          { created: '2026-01-02T03:04:05Z', created_by: 'ADD file' },
          { created: '2026-01-02T03:04:06Z', created_by: 'CMD ["sh"]', empty_layer: true },
        ],
      }),
    ),
  )
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: { mediaType: mediaTypes.dockerImageConfig, ...config },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', ...layer }],
    }),
  )
  assert.equal((await put(app, tag, mediaTypes.dockerManifest, manifest)).status, 201)
  return manifest
}

async function pushList(app: AppUnderTest, images: readonly [string, Buffer][]): Promise<Buffer> {
  const list = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifestList,
      manifests: images.map(([architecture, bytes]) => ({
        mediaType: mediaTypes.dockerManifest,
        digest: digestOf(bytes),
        size: bytes.length,
        platform: { os: 'linux', architecture },
      })),
    }),
  )
  assert.equal((await put(app, 'list', mediaTypes.dockerManifestList, list)).status, 201)
  return list
}

async function get(app: AppUnderTest, reference: string, accept?: string): Promise<Answer> {
  return await ask(`${app.url}/v2/app/manifests/${reference}`, accept === undefined ? {} : { headers: { accept } })
}

test('by tag a client gets what it can read, by digest what it asked for', async () => {
  await using app = await registry(true)
  const arm = await pushImage(app, 'arm64', 'arm')
  const amd = await pushImage(app, 'amd64', 'amd')
  const list = await pushList(app, [
    ['arm64', arm],
    ['amd64', amd],
  ])
  const cases: [string, string | undefined, string, Buffer | undefined][] = [
    ['list', everything, mediaTypes.dockerManifestList, list],
    ['list', '*/*', mediaTypes.dockerManifestList, list],
    ['list', mediaTypes.dockerManifest, mediaTypes.dockerManifest, amd],
    ['list', undefined, mediaTypes.dockerSchema1Signed, undefined],
    ['list', mediaTypes.dockerSchema1Signed, mediaTypes.dockerSchema1Signed, undefined],
    [digestOf(list), undefined, mediaTypes.dockerManifestList, list],
    [digestOf(list), mediaTypes.dockerSchema1, mediaTypes.dockerManifestList, list],
    ['arm', everything, mediaTypes.dockerManifest, arm],
    ['arm', undefined, mediaTypes.dockerSchema1Signed, undefined],
    [digestOf(arm), undefined, mediaTypes.dockerManifest, arm],
  ]
  for (const [reference, accept, mediaType, bytes] of cases) {
    const answer = await get(app, reference, accept)
    assert.equal(answer.status, 200, `${reference} ${accept}`)
    assert.equal(answer.headers['content-type'], mediaType)
    if (bytes !== undefined) {
      assert.ok(answer.body.equals(bytes))
      assert.equal(answer.headers['docker-content-digest'], digestOf(bytes))
    }
    assert.equal(answer.headers.etag, `"${String(answer.headers['docker-content-digest'])}"`)
    assert.equal(answer.headers.vary, reference.startsWith('sha256:') ? undefined : 'accept')
  }
})

test('a converted image is signed, names its layers, and can be pulled', async () => {
  await using app = await registry(true)
  await pushImage(app, 'amd64', 'v1')
  const answer = await get(app, 'v1')
  const manifest = parseSignedManifest(answer.body)
  assert.deepEqual([manifest.name, manifest.tag, manifest.architecture], ['app', 'v1', 'amd64'])
  assert.deepEqual(manifest.layers, [emptyLayerDigest, digestOf('layer of amd64')])
  assert.equal(answer.headers['docker-content-digest'], manifest.digest)
  for (const digest of manifest.layers) {
    const layer = await ask(`${app.url}/v2/app/blobs/${digest}`)
    assert.equal(layer.status, 200)
    assert.equal(digestOf(layer.body), digest)
    const head = await ask(`${app.url}/v2/app/blobs/${digest}`, { method: 'HEAD' })
    assert.equal(head.headers['content-length'], String(layer.body.length))
  }
  const head = await ask(`${app.url}/v2/app/manifests/v1`, { method: 'HEAD' })
  assert.equal(head.headers['docker-content-digest'], manifest.digest)
  assert.equal(head.headers['content-length'], String(answer.body.length))
  const unchanged = await ask(`${app.url}/v2/app/manifests/v1`, { headers: { 'if-none-match': manifest.digest } })
  assert.equal(unchanged.status, 304)
})

test('without schema 1, every image is served as it is', async () => {
  await using app = await registry(false)
  const image = await pushImage(app, 'amd64', 'v1')
  for (const accept of [undefined, mediaTypes.dockerSchema1]) {
    assert.ok((await get(app, 'v1', accept)).body.equals(image))
  }
})

test('a list without an image for linux on amd64 is unknown to those who cannot read lists', async () => {
  await using app = await registry(false)
  await pushList(app, [['arm64', await pushImage(app, 'arm64', 'arm')]])
  const answer = await get(app, 'list', mediaTypes.dockerManifest)
  assert.equal(answer.status, 404)
  assert.deepEqual(answer.codes, ['MANIFEST_UNKNOWN'])
})

test('an OCI image or index is not served by tag to a client that names other types only', async () => {
  await using app = await registry(false)
  await pushBlob(app, Buffer.from('{}'))
  const config = { mediaType: mediaTypes.ociImageConfig, digest: digestOf('{}'), size: 2 }
  const image = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] })
  const child = { mediaType: mediaTypes.ociManifest, digest: digestOf(image), size: image.length }
  const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [child] })
  for (const [type, document, refusal] of [
    [mediaTypes.ociManifest, image, /accept header does not support OCI manifests/],
    [mediaTypes.ociIndex, index, /accept header does not support OCI indexes/],
  ] as const) {
    await put(app, 'v1', type, document)
    for (const accept of [undefined, '*/*', 'application/*', 'application/json, */*', `text/html, ${type};q=0.5`]) {
      assert.equal((await get(app, 'v1', accept)).headers['docker-content-digest'], digestOf(document))
    }
    for (const accept of [`${mediaTypes.dockerManifest}, ${mediaTypes.dockerManifestList}`, 'application/json']) {
      assert.equal((await get(app, digestOf(document), accept)).status, 200)
      const refused = await get(app, 'v1', accept)
      assert.equal(refused.status, 404)
      assert.match(refused.body.toString(), refusal)
    }
  }
})

test('a signed manifest is proved and stored on push, and comes back signed by us', async () => {
  await using source = await registry(true)
  await pushImage(source, 'amd64', 'v1')
  const signed = (await get(source, 'v1')).body
  const { digest } = parseSignedManifest(signed)

  await using target = await registry(true)
  const missing = await put(target, 'v1', mediaTypes.dockerSchema1Signed, signed)
  assert.deepEqual(missing.codes, ['MANIFEST_BLOB_UNKNOWN'])
  await pushBlob(target, Buffer.from('layer of amd64'))
  const tampered = Buffer.from(signed.toString().replace('ADD', 'DEL'))
  assert.deepEqual((await put(target, 'v1', mediaTypes.dockerSchema1Signed, tampered)).codes, ['MANIFEST_UNVERIFIED'])
  for (const contentType of [mediaTypes.dockerSchema1Signed, 'application/json']) {
    const pushed = await put(target, contentType === 'application/json' ? 'v2' : digest, contentType, signed)
    assert.equal(pushed.status, 201)
    assert.equal(pushed.headers['docker-content-digest'], digest)
  }
  for (const reference of ['v2', digest]) {
    const answer = await get(target, reference)
    assert.equal(answer.headers['content-type'], mediaTypes.dockerSchema1Signed)
    assert.equal(answer.headers['docker-content-digest'], digest)
    assert.equal(parseSignedManifest(answer.body).digest, digest)
  }
  const wrong = await put(target, digestOf(signed), mediaTypes.dockerSchema1Signed, signed)
  assert.deepEqual(wrong.codes, ['DIGEST_INVALID'])
})

test('a signed manifest is refused where schema 1 is not enabled', async () => {
  await using source = await registry(true)
  await pushImage(source, 'amd64', 'v1')
  const signed = (await get(source, 'v1')).body
  await using app = await registry(false)
  const answer = await put(app, 'v1', mediaTypes.dockerSchema1Signed, signed)
  assert.equal(answer.status, 400)
  assert.deepEqual(answer.codes, ['MANIFEST_INVALID'])
})

test('the empty layer, which a client need not push, is here for whoever reads a manifest that names it', async () => {
  const image = {
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: { mediaType: mediaTypes.dockerImageConfig, digest: digestOf('{}'), size: 2 },
    layers: [{ mediaType: mediaTypes.octetStream, digest: emptyLayerDigest, size: 32 }],
  }
  const signed = signManifest(payload, rfcKey, new Date())
  for (const [type, document] of [
    [mediaTypes.dockerManifest, JSON.stringify(image)],
    [mediaTypes.dockerSchema1Signed, signed],
  ] as const) {
    await using folder = await temporaryFolder()
    const storage = { filesystem: { rootdirectory: folder.path } }
    {
      await using app = await startAppUnderTest({ storage, compatibility: { schema1: { enabled: true } } })
      const head = await ask(`${app.url}/v2/app/blobs/${emptyLayerDigest}`, { method: 'HEAD' })
      assert.equal(head.status, 200)
      await pushBlob(app, Buffer.from('{}'))
      assert.equal((await put(app, 'v1', type, document)).status, 201)
    }
    await using app = await startAppUnderTest({ storage })
    assert.equal((await get(app, 'v1')).status, 200)
    const layer = await ask(`${app.url}/v2/app/blobs/${emptyLayerDigest}`)
    assert.deepEqual([layer.status, layer.body], [200, emptyLayer()])
  }
})

test('P10: an image whose configuration is too large to be converted says so', async () => {
  await using app = await registry(true)
  const config = await pushBlob(app, Buffer.alloc(4 * 1024 * 1024 + 1, ' '))
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: { mediaType: mediaTypes.dockerImageConfig, ...config },
    layers: [],
  })
  assert.equal((await put(app, 'v1', mediaTypes.dockerManifest, manifest)).status, 201)
  const answer = await get(app, 'v1')
  assert.equal(answer.status, 400)
  assert.deepEqual(answer.codes, ['MANIFEST_INVALID'])
  assert.match(answer.body.toString(), /too large/)
})

test('a signed manifest is one document to every reader, with and without its signatures', async () => {
  await using app = await registry(true)
  const layer = await pushBlob(app, Buffer.from('a layer'))
  assert.equal((await put(app, 'v1', 'application/json', signManifest(payload, rfcKey, new Date()))).status, 201)
  const fsLayers = JSON.stringify([{ blobSum: layer.digest }])
  const twofold = Buffer.from(payload.toString().replace('"tag"', `"FSLayers": ${fsLayers},\n   "tag"`))
  // The second list is not in the document: only the payload gets it, from the signature.
  const tail = `,"fsLayers":${fsLayers}}`
  const head = payload.subarray(0, payload.length - 2)
  const hidden = protectedHeader({ formatLength: head.length, formatTail: encodeBase64url(tail) })
  const whole = encodeBase64url(Buffer.concat([head, Buffer.from(tail)]))
  const signature = encodeBase64url(rfcKey.sign(Buffer.from(`${hidden}.${whole}`)))
  const header = { jwk: rfcKey.jwk, alg: rfcKey.algorithm }
  for (const document of [
    signManifest(twofold, rfcKey, new Date()),
    documentWith([{ header, signature, protected: hidden }]),
  ]) {
    const answer = await put(app, 'v2', mediaTypes.dockerSchema1Signed, document)
    assert.equal(answer.status, 400)
    assert.deepEqual(answer.codes, ['MANIFEST_INVALID'])
    assert.match(answer.body.toString(), /ambiguous/)
  }
})

test('a signed manifest is an image, and so refused where only plugins are taken', async () => {
  for (const [classes, status] of [
    [['plugin'], 403],
    [['image'], 201],
  ] as const) {
    const policy = { repository: { classes } }
    await using app = await startAppUnderTest({ policy, compatibility: { schema1: { enabled: true } } })
    const answer = await put(app, 'v1', mediaTypes.dockerSchema1Signed, signManifest(payload, rfcKey, new Date()))
    assert.equal(answer.status, status)
    assert.deepEqual(answer.codes, status === 403 ? ['DENIED'] : [])
  }
})

test('P7: of very many layers of a signed manifest that are missing, each is named', async () => {
  await using app = await registry(true)
  const count = 1000
  const many = JSON.stringify({
    ...(JSON.parse(payload.toString()) as Record<string, unknown>),
    fsLayers: Array.from({ length: count }, (_, at) => ({ blobSum: digestOf(`missing ${at}`) })),
    history: Array.from({ length: count }, () => ({ v1Compatibility: '{}' })),
  })
  const document = signManifest(Buffer.from(many), rfcKey, new Date())
  const answer = await put(app, 'v1', mediaTypes.dockerSchema1Signed, document)
  assert.equal(answer.codes.length, count)
  for (const layer of [0, count - 1]) assert.ok(answer.body.includes(digestOf(`missing ${layer}`)))
})

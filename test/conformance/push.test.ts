// Pushing, as the distribution specification asks for it and its conformance suites check it, on a plain registry.
import assert from 'node:assert/strict'
import { readdir, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf, type DigestAlgorithm } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'
import { randomBlob } from '../support/origin.ts'

async function registry(sections: Record<string, unknown> = {}): Promise<AppUnderTest> {
  return await startAppUnderTest({ storage: { inmemory: {}, delete: { enabled: true } }, ...sections })
}

/** A Location as clients follow it: against the request's URL, with a digest added to its query. */
function follow(base: string, answer: Answer, digest?: string): string {
  const url = new URL(answer.headers.location ?? '', base)
  if (digest !== undefined) url.searchParams.set('digest', digest)
  return url.href
}

async function start(app: AppUnderTest, name = 'app', query = ''): Promise<Answer> {
  const answer = await ask(`${app.url}/v2/${name}/blobs/uploads/${query}`, { method: 'POST' })
  assert.equal(answer.status, 202)
  assert.equal(answer.headers['range'], '0-0')
  assert.equal(answer.headers['content-length'], '0')
  assert.match(String(answer.headers['docker-upload-uuid']), /^[\w-]+$/)
  return answer
}

async function pushBlob(app: AppUnderTest, bytes: Uint8Array, name = 'app'): Promise<string> {
  const digest = digestOf(bytes)
  const answer = await ask(`${app.url}/v2/${name}/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  assert.equal(answer.status, 201)
  return digest
}

function manifestOf(layers: readonly Uint8Array[], more: Record<string, unknown> = {}): Buffer {
  const descriptor = (bytes: Uint8Array, mediaType: string): unknown => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.byteLength,
  })
  const config = Buffer.from('{}')
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: descriptor(config, 'application/vnd.oci.empty.v1+json'),
      layers: layers.map((layer) => descriptor(layer, 'application/vnd.oci.image.layer.v1.tar')),
      ...more,
    }),
  )
}

async function pushManifest(app: AppUnderTest, reference: string, body: Uint8Array, name = 'app'): Promise<Answer> {
  const { mediaType } = JSON.parse(Buffer.from(body).toString()) as { mediaType?: string }
  const headers = { 'content-type': mediaType ?? mediaTypes.ociManifest }
  return await ask(`${app.url}/v2/${name}/manifests/${reference}`, { method: 'PUT', body, headers })
}

for (const algorithm of ['sha256', 'sha512'] satisfies DigestAlgorithm[]) {
  for (const [what, bytes] of [
    ['a blob', randomBlob(3067).bytes],
    ['an empty blob', Buffer.alloc(0)],
  ] as const) {
    test(`${what} is pushed in every way and read back by its ${algorithm}`, async () => {
      const digest = digestOf(bytes, algorithm)
      const ways: [string, (app: AppUnderTest) => Promise<Answer>][] = [
        [
          'POST then PUT',
          async (app) => await ask(follow(app.url, await start(app), digest), { method: 'PUT', body: bytes }),
        ],
        [
          'one POST',
          async (app) =>
            await ask(`${app.url}/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes }),
        ],
        [
          'a streamed PATCH then PUT',
          async (app) => {
            const patch = { method: 'PATCH', body: bytes, isChunked: true }
            const patched = await ask(follow(app.url, await start(app)), patch)
            assert.equal(patched.status, 202)
            return await ask(follow(app.url, patched, digest), { method: 'PUT' })
          },
        ],
        [
          'a chunked PUT',
          async (app) => {
            const url = follow(app.url, await start(app), digest)
            return await ask(url, { method: 'PUT', body: bytes, isChunked: true })
          },
        ],
      ]
      for (const [way, push] of ways) {
        await using app = await registry()
        const pushed = await push(app)
        assert.equal(pushed.status, 201, way)
        assert.equal(pushed.headers['docker-content-digest'], digest)
        assert.equal(new URL(follow(app.url, pushed)).pathname, `/v2/app/blobs/${digest}`)
        const got = await ask(follow(app.url, pushed))
        assert.ok(got.status === 200 && got.body.equals(bytes), way)
        const head = await ask(follow(app.url, pushed), { method: 'HEAD' })
        assert.equal(head.headers['content-length'], String(bytes.length))
        assert.equal(head.headers['docker-content-digest'], digest)
      }
    })
  }
}

test('T-57: chunks are taken in order only, and a session survives what comes out of order', async () => {
  await using app = await registry()
  const { bytes, digest } = randomBlob(3067)
  const chunks = [bytes.subarray(0, 1024), bytes.subarray(1024, 2048), bytes.subarray(2048)]
  let at = 0
  let session = await start(app)
  for (const [index, chunk] of chunks.entries()) {
    const range = `${at}-${at + chunk.length - 1}`
    const wrong = { 'content-range': `${at + 5}-${at + 5 + chunk.length - 1}` }
    const method = index === 2 ? 'PUT' : 'PATCH'
    const url = follow(app.url, session, index === 2 ? digest : undefined)
    const refused = await ask(url, { method, body: chunk, headers: wrong })
    assert.equal(refused.status, 416)
    assert.deepEqual(refused.codes, ['RANGE_INVALID'])
    const status = await ask(url)
    assert.equal(status.status, 204)
    assert.equal(status.headers['range'], `0-${Math.max(0, at - 1)}`)
    session = await ask(follow(app.url, status, index === 2 ? digest : undefined), {
      method,
      body: chunk,
      headers: { 'content-range': range, 'content-type': 'application/octet-stream' },
    })
    assert.equal(session.status, index === 2 ? 201 : 202)
    at += chunk.length
    if (index < 2) assert.equal(session.headers['range'], `0-${at - 1}`)
  }
  assert.ok((await ask(`${app.url}/v2/app/blobs/${digest}`)).body.equals(bytes))
})

test('a chunk that is not what its Content-Range says is refused', async () => {
  await using app = await registry()
  const session = await start(app)
  const cases: [string, number][] = [
    ['0-9', 400],
    ['5-2', 416],
    ['a-b', 416],
    ['bytes */4', 416],
    ['0-99999999999999999999', 416],
  ]
  for (const [range, status] of cases) {
    const headers = { 'content-range': range }
    const answer = await ask(follow(app.url, session), { method: 'PATCH', body: 'four', headers })
    assert.equal(answer.status, status, range)
  }
  assert.equal((await ask(follow(app.url, session))).headers['range'], '0-0')
})

test('T-57, P2: a blob that does not match its digest is refused, and nothing of it can be read', async () => {
  await using app = await registry()
  const { bytes } = randomBlob(1000)
  const wrong = digestOf('something else')
  const session = await start(app)
  const answer = await ask(follow(app.url, session, wrong), { method: 'PUT', body: bytes })
  assert.equal(answer.status, 400)
  assert.deepEqual(answer.codes, ['DIGEST_INVALID'])
  assert.equal((await ask(follow(app.url, session))).status, 404)
  for (const digest of [wrong, digestOf(bytes)]) {
    assert.deepEqual((await ask(`${app.url}/v2/app/blobs/${digest}`)).codes, ['BLOB_UNKNOWN'])
  }
  assert.equal(
    (await ask(`${app.url}/v2/app/blobs/uploads/?digest=${wrong}`, { method: 'POST', body: bytes })).status,
    400,
  )
})

test('a digest that is none is refused before a byte is taken, and the session stays', async () => {
  await using app = await registry()
  const session = await start(app)
  for (const digest of [
    '',
    'sha256:baddigeststring',
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `sha256:${'A'.repeat(64)}`,
  ]) {
    const answer = await ask(follow(app.url, session, digest), { method: 'PUT', body: 'x' })
    assert.equal(answer.status, 400, digest)
    assert.deepEqual(answer.codes, ['DIGEST_INVALID'])
  }
  assert.equal((await ask(follow(app.url, session))).status, 204)
})

test('a session can be cancelled, and is unknown from then on', async () => {
  await using app = await registry()
  const session = await start(app)
  assert.equal((await ask(follow(app.url, session), { method: 'DELETE' })).status, 204)
  assert.deepEqual((await ask(follow(app.url, session))).codes, ['BLOB_UPLOAD_UNKNOWN'])
  assert.equal((await ask(follow(app.url, session), { method: 'PATCH', body: 'x' })).status, 404)
})

test('a session belongs to its repository, and its state cannot be forged', async () => {
  await using app = await registry()
  const session = await start(app)
  const url = new URL(follow(app.url, session))
  const state = url.searchParams.get('_state') ?? ''
  const forged = [
    url.href.replace('/app/', '/other/'),
    `${url.origin}${url.pathname}`,
    `${url.origin}${url.pathname}?_state=${state.slice(0, -6)}AAAAAA`,
    `${url.origin}${url.pathname}?_state=${encodeURIComponent(`${state.slice(0, 20)}!${state.slice(20)}`)}`,
    url.href.replace(/uploads\/[^?]+/, 'uploads/..%2f..%2fx'),
    url.href.replace(/uploads\/[^?]+/, `uploads/${crypto.randomUUID()}`),
  ]
  for (const target of forged) {
    for (const method of ['PATCH', 'PUT', 'DELETE']) {
      const answer = await ask(`${target}${target.includes('?') ? '&' : '?'}digest=${digestOf('x')}`, {
        method,
        body: 'x',
      })
      assert.equal(answer.status, 404, `${method} ${target}`)
    }
  }
  assert.equal((await ask(url.href)).status, 204)
})

test('T-56: a session goes on after a restart, at its true offset', async () => {
  await using folder = await temporaryFolder()
  const storage = { filesystem: { rootdirectory: folder.path } }
  const { bytes, digest } = randomBlob(100_000)
  let location = ''
  {
    await using app = await startAppUnderTest({ storage })
    const patched = await ask(follow(app.url, await start(app)), { method: 'PATCH', body: bytes.subarray(0, 60_000) })
    location = new URL(follow(app.url, patched)).pathname + new URL(follow(app.url, patched)).search
  }
  await using app = await startAppUnderTest({ storage })
  const status = await ask(app.url + location)
  assert.equal(status.headers['range'], '0-59999')
  const done = await ask(follow(app.url, status, digest), { method: 'PUT', body: bytes.subarray(60_000) })
  assert.equal(done.status, 201)
  assert.ok((await ask(`${app.url}/v2/app/blobs/${digest}`)).body.equals(bytes))
})

test('a blob is mounted from another repository, without a byte being sent', async () => {
  await using app = await registry()
  const { bytes } = randomBlob(1000)
  const digest = await pushBlob(app, bytes, 'one')
  assert.equal((await ask(`${app.url}/v2/two/blobs/${digest}`)).status, 404)
  const mounted = await ask(`${app.url}/v2/two/blobs/uploads/?mount=${digest}&from=one`, { method: 'POST' })
  assert.equal(mounted.status, 201)
  assert.equal(new URL(follow(app.url, mounted)).pathname, `/v2/two/blobs/${digest}`)
  assert.ok((await ask(`${app.url}/v2/two/blobs/${digest}`)).body.equals(bytes))
  for (const query of [
    `?mount=${digestOf('no')}&from=one`,
    '?mount=x&from=one',
    `?mount=${digest}&from=UP`,
    `?mount=${digest}&from=`,
  ]) {
    await start(app, 'three', query)
  }
  assert.equal((await ask(`${app.url}/v2/three/blobs/${digest}`)).status, 404)
  assert.equal((await ask(`${app.url}/v2/one/blobs/${digest}`, { method: 'DELETE' })).status, 202)
  assert.equal((await ask(`${app.url}/v2/one/blobs/${digest}`, { method: 'HEAD' })).status, 404)
  assert.equal((await ask(`${app.url}/v2/two/blobs/${digest}`, { method: 'HEAD' })).status, 200)
  await start(app, 'three', `?mount=${digest}&from=one`)
})

test('a blob is mounted without a word of where it is, as long as a repository shows it', async () => {
  await using app = await registry()
  const { bytes } = randomBlob(1000)
  const digest = await pushBlob(app, bytes, 'one')
  const mounted = await ask(`${app.url}/v2/two/blobs/uploads/?mount=${digest}`, { method: 'POST' })
  assert.equal(mounted.status, 201)
  assert.ok((await ask(`${app.url}/v2/two/blobs/${digest}`)).body.equals(bytes))
  for (const name of ['one', 'two']) {
    assert.equal((await ask(`${app.url}/v2/${name}/blobs/${digest}`, { method: 'DELETE' })).status, 202)
  }
  await start(app, 'three', `?mount=${digest}`) // its bytes are still there, but nobody shows them any more
  await start(app, 'three', `?mount=${digestOf('no')}`)
})

test('T-89: Location is absolute by the Host, or as a trusted proxy, http.host, prefix and relativeurls have it', async () => {
  const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'r.example' }
  const cases: [Record<string, unknown>, Record<string, string>, RegExp][] = [
    [{}, {}, /^http:\/\/127\.0\.0\.1:\d+\/v2\/app\/blobs\/uploads\//],
    [{}, forwarded, /^http:\/\/127\.0\.0\.1:\d+\/v2\/app\//],
    [{ trustedproxies: ['127.0.0.1'] }, forwarded, /^https:\/\/r\.example\/v2\/app\//],
    [{ trustedproxies: ['127.0.0.1'], host: 'https://b.example' }, forwarded, /^https:\/\/b\.example\/v2\/app\//],
    [{}, { host: 'bad host/evil' }, /^\/v2\/app\//],
    [{ relativeurls: true }, {}, /^\/v2\/app\/blobs\/uploads\//],
    [{ prefix: '/mirror/' }, {}, /^http:\/\/[^/]+\/mirror\/v2\/app\/blobs\/uploads\//],
    [{ host: 'https://r.example', prefix: '/m/' }, {}, /^https:\/\/r\.example\/m\/v2\/app\//],
  ]
  for (const [http, headers, expected] of cases) {
    await using app = await registry({ http: { addr: '127.0.0.1:0', ...http } })
    const answer = await ask(`${app.url}/v2/app/blobs/uploads/`, { method: 'POST', headers })
    assert.match(answer.headers.location ?? '', expected)
  }
})

test('a manifest is kept byte for byte, under its tag and its digest', async () => {
  await using app = await registry()
  const layer = randomBlob(100).bytes
  await pushBlob(app, layer)
  await pushBlob(app, Buffer.from('{}'))
  const bytes = Buffer.concat([manifestOf([layer], { 'org.example.unknown': { a: [1, 2] } }), Buffer.from('\n  ')])
  const pushed = await pushManifest(app, 'v1', bytes)
  assert.equal(pushed.status, 201)
  const digest = digestOf(bytes)
  assert.equal(pushed.headers['docker-content-digest'], digest)
  assert.equal(new URL(follow(app.url, pushed)).pathname, `/v2/app/manifests/${digest}`)
  for (const reference of ['v1', digest]) {
    const got = await ask(`${app.url}/v2/app/manifests/${reference}`)
    assert.ok(got.body.equals(bytes))
    assert.equal(got.headers['content-type'], mediaTypes.ociManifest)
  }
  const sha512 = digestOf(bytes, 'sha512')
  const multi = await pushManifest(app, `${sha512}?tag=a&tag=b`, bytes)
  assert.equal(multi.status, 201)
  assert.equal(multi.headers['docker-content-digest'], sha512)
  assert.equal(String(multi.headers['oci-tag']), 'a, b')
  for (const reference of [sha512, 'a', 'b']) {
    const got = await ask(`${app.url}/v2/app/manifests/${reference}`)
    assert.ok(got.body.equals(bytes))
    assert.equal(got.headers['docker-content-digest'], sha512, reference)
  }
})

test('P10: under what no tag may be there is nothing to read, and nothing can be written', async () => {
  await using app = await registry()
  const url = `${app.url}/v2/app/manifests/.no-tag`
  for (const method of ['GET', 'HEAD']) {
    const answer = await ask(url, { method })
    assert.equal(answer.status, 404)
    if (method === 'GET') assert.deepEqual(answer.codes, ['MANIFEST_UNKNOWN'])
  }
  for (const method of ['PUT', 'DELETE']) {
    const answer = await ask(url, { method, headers: { 'content-type': mediaTypes.ociManifest }, body: '{}' })
    assert.equal(answer.status, 400)
    assert.deepEqual(answer.codes, ['TAG_INVALID'])
  }
})

test('indexes, nested and empty ones, artifacts and non-distributable layers are taken', async () => {
  await using app = await registry()
  await pushBlob(app, Buffer.from('{}'))
  const image = manifestOf([])
  const foreign = manifestOf([], {
    layers: [
      {
        mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
        digest: digestOf('elsewhere'),
        size: 9,
        urls: [],
      },
    ],
  })
  const child = { mediaType: mediaTypes.ociManifest, digest: digestOf(image), size: image.length }
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [child] }))
  const nested = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: [{ mediaType: mediaTypes.ociIndex, digest: digestOf(index), size: index.length }],
    }),
  )
  const empty = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }))
  const large = manifestOf([], { annotations: { padding: 'x'.repeat(3_900_000) } })
  for (const bytes of [image, index, nested, empty, large]) {
    assert.equal((await pushManifest(app, digestOf(bytes), bytes)).status, 201)
    assert.ok((await ask(`${app.url}/v2/app/manifests/${digestOf(bytes)}`)).body.equals(bytes))
  }
  assert.deepEqual((await pushManifest(app, 'foreign', foreign)).codes, ['MANIFEST_BLOB_UNKNOWN'])
})

test('every blob and child that a manifest names and that is not here is named in the answer', async () => {
  await using app = await registry()
  const layers = [randomBlob(10).bytes, randomBlob(10).bytes]
  const answer = await pushManifest(app, 'v1', manifestOf(layers))
  assert.equal(answer.status, 400)
  assert.deepEqual(answer.codes, ['MANIFEST_BLOB_UNKNOWN', 'MANIFEST_BLOB_UNKNOWN', 'MANIFEST_BLOB_UNKNOWN'])
  for (const layer of layers) assert.ok(answer.body.includes(digestOf(layer)))
  const child = { mediaType: mediaTypes.ociManifest, digest: digestOf('child'), size: 5 }
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [child] }))
  assert.deepEqual((await pushManifest(app, 'v1', index)).codes, ['MANIFEST_BLOB_UNKNOWN'])
  assert.equal((await ask(`${app.url}/v2/app/manifests/v1`)).status, 404)
})

test('a subject need not be here, and is named in the answer', async () => {
  await using app = await registry()
  await pushBlob(app, Buffer.from('{}'))
  const subject = { mediaType: mediaTypes.ociManifest, digest: digestOf('absent'), size: 6 }
  for (const reference of ['v1', digestOf(manifestOf([], { subject }))]) {
    const answer = await pushManifest(app, reference, manifestOf([], { subject }))
    assert.equal(answer.status, 201)
    assert.equal(answer.headers['oci-subject'], subject.digest)
  }
})

test('documents that are no manifest, or two at once, are refused', async () => {
  await using app = await registry()
  await pushBlob(app, Buffer.from('{}'))
  const image = manifestOf([]).toString()
  const bad: [string, string][] = [
    ['', mediaTypes.ociManifest],
    ['{}', mediaTypes.ociManifest],
    ['<html>', mediaTypes.ociManifest],
    [image, mediaTypes.ociIndex],
    [image, mediaTypes.dockerManifest],
    [image.replace('"layers"', '"manifests":[],"layers"'), mediaTypes.ociManifest],
    [image.replace('"layers"', '"Manifests":[],"layers"'), mediaTypes.ociManifest],
    [image.replace('"layers":[]', '"layers":[],"layers":[]'), mediaTypes.ociManifest],
    [image.replace('"layers":[]', '"layers":[],"layer\\u017f":[]'), mediaTypes.ociManifest],
    [image.replace('"size":2', '"size":-2'), mediaTypes.ociManifest],
  ]
  for (const [body, contentType] of bad) {
    const headers = { 'content-type': contentType }
    const answer = await ask(`${app.url}/v2/app/manifests/v1`, { method: 'PUT', body, headers })
    assert.equal(answer.status, 400, body)
    assert.deepEqual(answer.codes, ['MANIFEST_INVALID'])
  }
  const large = manifestOf([], { annotations: { padding: 'x'.repeat(4_200_000) } })
  for (const isChunked of [false, true]) {
    const answer = await ask(`${app.url}/v2/app/manifests/v1`, { method: 'PUT', body: large, isChunked })
    assert.equal(answer.status, 413)
    assert.deepEqual(answer.codes, ['MANIFEST_INVALID'])
  }
  const spaces = Buffer.concat([manifestOf([]), Buffer.from('  ')])
  assert.deepEqual((await pushManifest(app, digestOf(manifestOf([])), spaces)).codes, ['DIGEST_INVALID'])
  assert.equal((await pushManifest(app, 'sha256:baddigeststring', manifestOf([]))).status, 400)
  assert.equal((await ask(`${app.url}/v2/app/tags/list`)).status, 404)
})

test('deletion takes tags, manifests and blobs, and says what is unknown', async () => {
  await using app = await registry()
  const layer = randomBlob(100).bytes
  const blob = await pushBlob(app, layer)
  await pushBlob(app, Buffer.from('{}'))
  const bytes = manifestOf([layer])
  const digest = digestOf(bytes)
  for (const tag of ['v1', 'v2', 'v3']) await pushManifest(app, tag, bytes)
  const remove = async (path: string): Promise<number> =>
    (await ask(`${app.url}/v2/app/${path}`, { method: 'DELETE' })).status
  const tags = async (): Promise<unknown> => JSON.parse((await ask(`${app.url}/v2/app/tags/list`)).body.toString())
  assert.equal(await remove('manifests/v1'), 202)
  assert.equal(await remove('manifests/v1'), 404)
  assert.equal((await ask(`${app.url}/v2/app/manifests/v1`)).status, 404)
  assert.equal((await ask(`${app.url}/v2/app/manifests/${digest}`)).status, 200)
  assert.deepEqual(await tags(), { name: 'app', tags: ['v2', 'v3'] })
  assert.equal(await remove(`manifests/${digest}`), 202)
  for (const reference of [digest, 'v2', 'v3']) {
    assert.equal((await ask(`${app.url}/v2/app/manifests/${reference}`, { method: 'HEAD' })).status, 404)
  }
  assert.deepEqual(await tags(), { name: 'app', tags: [] })
  assert.equal(await remove(`blobs/${blob}`), 202)
  assert.equal((await ask(`${app.url}/v2/app/blobs/${blob}`, { method: 'HEAD' })).status, 404)
  assert.equal(await remove(`blobs/${blob}`), 404)
  assert.equal(await remove(`manifests/${digest}`), 404)
})

test('deletion is off unless it is enabled, for tags too', async () => {
  await using app = await registry({ storage: { inmemory: {} } })
  await pushBlob(app, Buffer.from('{}'))
  await pushManifest(app, 'v1', manifestOf([]))
  for (const path of ['manifests/v1', `manifests/${digestOf(manifestOf([]))}`, `blobs/${digestOf('{}')}`]) {
    const answer = await ask(`${app.url}/v2/app/${path}`, { method: 'DELETE' })
    assert.equal(answer.status, 405, path)
    assert.deepEqual(answer.codes, ['UNSUPPORTED'])
  }
  assert.equal((await ask(`${app.url}/v2/app/manifests/v1`)).status, 200)
})

test('a read-only registry takes nothing and deletes nothing', async () => {
  const storage = { inmemory: {}, delete: { enabled: true }, maintenance: { readonly: { enabled: true } } }
  await using app = await registry({ storage })
  for (const [method, path] of [
    ['POST', 'blobs/uploads/'],
    ['PUT', 'manifests/v1'],
    ['DELETE', 'manifests/v1'],
    ['DELETE', `blobs/${digestOf('x')}`],
    ['PATCH', 'blobs/uploads/x'],
  ] as const) {
    const answer = await ask(`${app.url}/v2/app/${path}`, { method })
    assert.equal(answer.status, 405, `${method} ${path}`)
    assert.deepEqual(answer.codes, ['UNSUPPORTED'])
  }
})

test('a read-only registry writes nothing for those who ask what is here', async () => {
  await using folder = await temporaryFolder()
  const filesystem = { rootdirectory: folder.path }
  const old = new Date(Date.now() - 24 * 3_600_000)
  const repository = join(folder.path, 'docker/registry/v2/repositories/app')
  const links = ['_layers', '_manifests/revisions'].map((kind) => join(repository, kind))
  const paths = ['manifests/v1', `manifests/${digestOf(manifestOf([]))}`, `blobs/${digestOf('{}')}`]
  {
    await using app = await registry({ storage: { filesystem } })
    await pushBlob(app, Buffer.from('{}'))
    await pushManifest(app, 'v1', manifestOf([]))
  }
  const files: string[] = []
  for (const kind of links) {
    for (const entry of await readdir(kind, { recursive: true }))
      if (entry.endsWith('link')) files.push(join(kind, entry))
  }
  assert.equal(files.length, 2)
  for (const file of files) await utimes(file, old, old)
  await using app = await registry({ storage: { filesystem, maintenance: { readonly: { enabled: true } } } })
  for (const path of paths) {
    assert.equal((await ask(`${app.url}/v2/app/${path}`, { method: 'HEAD' })).status, 200)
  }
  for (const file of files) assert.equal((await stat(file)).mtimeMs, old.getTime())
})

test('a page of no tags is empty, and unknown where the repository is', async () => {
  await using app = await registry()
  await pushBlob(app, Buffer.from('{}'))
  await pushManifest(app, 'v1', manifestOf([]))
  const page = await ask(`${app.url}/v2/app/tags/list?n=0`)
  assert.deepEqual([page.status, page.headers['link']], [200, undefined])
  assert.deepEqual(JSON.parse(page.body.toString()), { name: 'app', tags: [] })
  const none = await ask(`${app.url}/v2/none/tags/list?n=0`)
  assert.deepEqual([none.status, none.codes], [404, ['NAME_UNKNOWN']])
})

// What clients do, and what an endpoint is told of it: whole envelopes.
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { ask, open, type AskOptions } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { startSink, startTellingApp, type Sink, type Told } from './sink.ts'

const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/
const octets = 'application/octet-stream'
const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const ociIndex = 'application/vnd.oci.image.index.v1+json'

/** All that differs from run to run is looked at, and taken away. */
function plain({ id, timestamp, request, source, ...told }: Told): object {
  assert.match(id, uuid)
  assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000)
  assert.match(source.instanceID, uuid)
  assert.equal(source.addr, `${hostname()}:0`)
  const { id: requestId = '', addr = '', host = '', ...asked } = request ?? {}
  assert.match(requestId, uuid)
  assert.match(addr, /^127\.0\.0\.1:\d+$/)
  assert.match(host, /^127\.0\.0\.1:\d+$/)
  return { ...told, request: asked }
}

interface Client {
  readonly url: string
  /** Sends a request and resolves with what the sink was told of it so far. */
  readonly told: (status: number, path: string, options?: AskOptions) => Promise<object[]>
}

async function clientOf(url: string, sink: Sink): Promise<Client> {
  let seen = sink.told.length
  return {
    url,
    async told(status, path, options = {}) {
      const headers = { 'user-agent': 'a client', ...options.headers }
      const answer = await ask(`${url}/v2/${path}`, { ...options, headers })
      assert.equal(answer.status, status, answer.body.toString())
      // What is told is told in its order: a marker behind it says that it is all here.
      const marker = `m${seen}`
      await ask(`${url}/v2/marker/manifests/${marker}`, { method: 'PUT', body: empty, headers: ociType })
      while (sink.told.at(-1)?.target['tag'] !== marker) await sink.until(sink.told.length + 1)
      const told = sink.told.slice(seen, -1)
      seen = sink.told.length
      return told.map(plain)
    },
  }
}

const ociType = { 'content-type': ociManifest }
const emptyBlob = Buffer.from('{}')
const emptyDigest = digestOf(emptyBlob)
const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: emptyDigest, size: 2 }
const empty = JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config, layers: [] })

async function pushBlob(url: string, repository: string, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes)
  const { status } = await ask(`${url}/v2/${repository}/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    body: bytes,
  })
  assert.equal(status, 201)
  return digest
}

test('each action is told in the words of distribution', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink)
  const url = app.url
  await pushBlob(url, 'marker', emptyBlob)
  await sink.until(1)
  const client = await clientOf(url, sink)
  const { bytes, digest } = randomBlob(1000)
  const common = { mediaType: octets, size: 1000, digest, length: 1000 }
  const asked = (method: string): object => ({ request: { method, useragent: 'a client' }, actor: {} })
  const inRepository = (name: string): object => ({ repository: name, url: `${url}/v2/${name}/blobs/${digest}` })

  // A blob: pushed, pulled, mounted.
  assert.deepEqual(await client.told(201, `a/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes }), [
    { action: 'push', target: { ...common, ...inRepository('a') }, ...asked('POST') },
  ])
  const begun = await ask(`${url}/v2/a/blobs/uploads/`, { method: 'POST' })
  const session = String(begun.headers['location']).replace(`${url}/v2/`, '')
  assert.deepEqual(await client.told(201, `${session}&digest=${digest}`, { method: 'PUT', body: bytes }), [
    { action: 'push', target: { ...common, ...inRepository('a') }, ...asked('PUT') },
  ])
  assert.deepEqual(await client.told(200, `a/blobs/${digest}`), [
    { action: 'pull', target: { ...common, ...inRepository('a') }, ...asked('GET') },
  ])
  assert.deepEqual(await client.told(200, `a/blobs/${digest}`, { method: 'HEAD' }), [
    { action: 'pull', target: { ...common, ...inRepository('a') }, ...asked('HEAD') },
  ])
  assert.deepEqual(await client.told(206, `a/blobs/${digest}`, { headers: { range: 'bytes=1-9' } }), [
    { action: 'pull', target: { ...common, ...inRepository('a') }, ...asked('GET') },
  ])
  assert.deepEqual(await client.told(201, `b/blobs/uploads/?mount=${digest}&from=a`, { method: 'POST' }), [
    { action: 'mount', target: { ...common, ...inRepository('b'), fromRepository: 'a' }, ...asked('POST') },
  ])

  // A manifest: pushed by tag and by digest, pulled by both.
  await pushBlob(url, 'a', emptyBlob)
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 1000 }
  const document = JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config, layers: [layer] })
  const manifest = digestOf(document)
  const size = document.length
  const target = {
    mediaType: ociManifest,
    size,
    digest: manifest,
    length: size,
    repository: 'a',
    url: `${url}/v2/a/manifests/${manifest}`,
  }
  const put = { method: 'PUT', body: document, headers: ociType }
  const [, byTag] = await client.told(201, 'a/manifests/v1', put) // behind the push of the config
  assert.deepEqual(byTag, { action: 'push', target: { ...target, tag: 'v1' }, ...asked('PUT') })
  assert.deepEqual(await client.told(201, `a/manifests/${manifest}`, put), [
    { action: 'push', target, ...asked('PUT') },
  ])
  assert.deepEqual(await client.told(201, `a/manifests/${manifest}?tag=v2&tag=v3`, put), [
    { action: 'push', target: { ...target, tag: 'v2' }, ...asked('PUT') },
    { action: 'push', target: { ...target, tag: 'v3' }, ...asked('PUT') },
  ])
  const accept = { headers: { accept: ociManifest } }
  for (const method of ['GET', 'HEAD']) {
    assert.deepEqual(await client.told(200, 'a/manifests/v1', { method, ...accept }), [
      { action: 'pull', target: { ...target, tag: 'v1' }, ...asked(method) },
    ])
    assert.deepEqual(await client.told(200, `a/manifests/${manifest}`, { method }), [
      { action: 'pull', target, ...asked(method) },
    ])
  }

  // Nothing is told of what is no pull.
  const unchanged = { headers: { accept: ociManifest, 'if-none-match': `"${manifest}"` } }
  for (const method of ['GET', 'HEAD']) {
    assert.deepEqual(await client.told(304, 'a/manifests/v1', { method, ...unchanged }), [])
    assert.deepEqual(await client.told(304, `a/manifests/${manifest}`, { method, ...unchanged }), [])
  }
  assert.deepEqual(await client.told(404, 'a/manifests/v1', { headers: { accept: 'text/plain' } }), [])
  assert.deepEqual(await client.told(404, 'a/manifests/v4'), [])
  assert.deepEqual(await client.told(404, `b/blobs/${emptyDigest}`), [])
  assert.deepEqual(await client.told(416, `a/blobs/${digest}`, { headers: { range: 'bytes=5000-' } }), [])
  assert.deepEqual(await client.told(200, 'a/tags/list'), [])
  assert.deepEqual(await client.told(200, `a/referrers/${manifest}`), [])
  assert.deepEqual(await client.told(400, `a/blobs/uploads/?digest=${emptyDigest}`, { method: 'POST', body: 'x' }), [])

  // Deletions: a tag; a manifest with its tags; a blob.
  const remove = { method: 'DELETE' }
  assert.deepEqual(await client.told(202, 'a/manifests/v1', remove), [
    { action: 'delete', target: { repository: 'a', tag: 'v1' }, ...asked('DELETE') },
  ])
  assert.deepEqual(await client.told(202, `a/manifests/${manifest}`, remove), [
    { action: 'delete', target: { digest: manifest, repository: 'a' }, ...asked('DELETE') },
    { action: 'delete', target: { repository: 'a', tag: 'v2' }, ...asked('DELETE') },
    { action: 'delete', target: { repository: 'a', tag: 'v3' }, ...asked('DELETE') },
  ])
  assert.deepEqual(await client.told(202, `b/blobs/${digest}`, remove), [
    { action: 'delete', target: { digest, repository: 'b' }, ...asked('DELETE') },
  ])
  assert.deepEqual(await client.told(404, `b/blobs/${digest}`, remove), [])
})

test('an envelope has the media type of distribution, and its form', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink, {
    endpoint: { headers: { Authorization: ['Bearer a'], 'X-B': ['b', 'c'] } },
  })
  await pushBlob(app.url, 'a', emptyBlob)
  await sink.until(1)
  const [{ headers, body, method } = assert.fail()] = sink.requests
  assert.equal(method, 'POST')
  assert.equal(headers['content-type'], 'application/vnd.docker.distribution.events.v2+json')
  assert.deepEqual([headers.authorization, headers['x-b']], ['Bearer a', 'b, c'])
  assert.equal(body, JSON.stringify(JSON.parse(body), undefined, 3))
  const [event = {}] = (JSON.parse(body) as { events: object[] }).events
  assert.deepEqual(Object.keys(event), ['id', 'timestamp', 'action', 'target', 'request', 'actor', 'source'])
})

test('a Content-Type that is configured takes the place of ours, for listeners that know that of distribution 2.x', async () => {
  const v1 = 'application/vnd.docker.distribution.events.v1+json'
  await using sink = await startSink()
  await using app = await startTellingApp(sink, { endpoint: { headers: { 'Content-Type': [v1] } } })
  await pushBlob(app.url, 'a', emptyBlob)
  await sink.until(1)
  assert.equal(sink.requests[0]?.headers['content-type'], v1)
})

test('with includereferences a manifest says what it refers to', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink, { notifications: { events: { includereferences: true } } })
  await pushBlob(app.url, 'a', emptyBlob)
  await ask(`${app.url}/v2/a/manifests/v1`, { method: 'PUT', body: empty, headers: ociType })
  for (const method of ['GET', 'HEAD']) {
    await ask(`${app.url}/v2/a/manifests/v1`, { method, headers: { accept: ociManifest } })
  }
  const told = await sink.until(4)
  assert.deepEqual(
    told.map(({ action, target }) => [action, target['references']]),
    [
      ['push', undefined],
      ['push', [config]],
      ['pull', [config]],
      ['pull', [config]],
    ],
  )
})

test('and what is said of that besides', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink, { notifications: { events: { includereferences: true } } })
  await pushBlob(app.url, 'a', emptyBlob)
  await ask(`${app.url}/v2/a/manifests/v1`, { method: 'PUT', body: empty, headers: ociType })
  const child = {
    mediaType: ociManifest,
    digest: digestOf(empty),
    size: empty.length,
    annotations: { of: 'this child' },
    artifactType: 'application/x',
    data: 'e30=',
    platform: { architecture: 'arm', os: 'linux', variant: 'v7', 'os.version': '1', 'os.features': ['a'] },
  }
  const index = JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [child] })
  const headers = { 'content-type': ociIndex }
  const { status } = await ask(`${app.url}/v2/a/manifests/v2`, { method: 'PUT', body: index, headers })
  assert.equal(status, 201)
  const told = await sink.until(3)
  assert.deepEqual(told[2]?.target['references'], [child])
})

test('a client that gets an image of a list, as it knows no lists, has pulled both, in the order of distribution', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink)
  const { url } = app
  await pushBlob(url, 'a', emptyBlob)
  const image = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config, layers: [config] })
  const child = { mediaType: mediaTypes.dockerManifest, digest: digestOf(image), size: image.length }
  const platform = { os: 'linux', architecture: 'amd64' }
  const list = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifestList,
    manifests: [{ ...child, platform }],
  })
  await pushBlob(url, 'marker', emptyBlob)
  for (const [reference, body, type] of [
    [child.digest, image, mediaTypes.dockerManifest],
    ['v1', list, mediaTypes.dockerManifestList],
  ] as const) {
    const headers = { 'content-type': type }
    assert.equal((await ask(`${url}/v2/a/manifests/${reference}`, { method: 'PUT', body, headers })).status, 201)
  }
  await sink.until(4)
  const client = await clientOf(url, sink)
  const pulled = (mediaType: string, bytes: string): object => {
    const [digest, size] = [digestOf(bytes), bytes.length]
    return { mediaType, size, digest, length: size, repository: 'a', url: `${url}/v2/a/manifests/${digest}` }
  }
  for (const method of ['GET', 'HEAD']) {
    const common = { action: 'pull', request: { method, useragent: 'a client' }, actor: {} }
    const pullOfList = { ...common, target: { ...pulled(mediaTypes.dockerManifestList, list), tag: 'v1' } }
    const pullOfImage = { ...common, target: pulled(mediaTypes.dockerManifest, image) }
    const headers = { accept: mediaTypes.dockerManifest }
    assert.deepEqual(await client.told(200, 'a/manifests/v1', { method, headers }), [pullOfList, pullOfImage])
    assert.deepEqual(await client.told(200, 'a/manifests/v1', { method }), [pullOfList])
    const known = { ...headers, 'if-none-match': `"${child.digest}"` }
    assert.deepEqual(await client.told(304, 'a/manifests/v1', { method, headers: known }), [])
  }
})

test('URLs are those of http.host and http.prefix', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink, {
    sections: { http: { addr: '127.0.0.1:0', draintimeout: '0s', host: 'https://registry.example', prefix: '/a/' } },
  })
  await pushBlob(app.url, 'b', emptyBlob)
  const [told] = await sink.until(1)
  assert.equal(told?.target['url'], `https://registry.example/a/v2/b/blobs/${emptyDigest}`)
})

test('pulls through the proxy are told, whether or not the upstream was asked', async () => {
  await using origin = await startOrigin()
  const { manifest, layers } = await origin.addImage('app', 'v1', [randomBlob(100_000).bytes])
  await using sink = await startSink()
  await using app = await startTellingApp(sink, {
    sections: {
      proxy: { upstreams: { up: { url: origin.url, default: true }, other: { url: 'http://127.0.0.1:1' } } },
    },
  })
  const accept = { headers: { accept: ociManifest } }
  for (const time of ['miss', 'hit']) {
    const before = sink.told.length
    assert.equal((await ask(`${app.url}/v2/app/manifests/v1`, accept)).status, 200, time)
    assert.equal((await ask(`${app.url}/v2/app/blobs/${layers[0]}?ns=up`)).status, 200, time)
    await sink.until(before + 2)
    assert.deepEqual(
      sink.told.slice(before).map(({ action, target }) => [action, target['repository'], target['tag'], target['url']]),
      [
        ['pull', 'app', 'v1', `${app.url}/v2/app/manifests/${manifest}`],
        ['pull', 'app', undefined, `${app.url}/v2/app/blobs/${layers[0]}?ns=up`],
      ],
      time,
    )
    if (time === 'miss') await app.until(({ msg }) => msg === 'fill stored')
  }
})

test('a client that is sent elsewhere for a blob has pulled it', async () => {
  await using sink = await startSink()
  const toCdn = { name: 'redirect', options: { baseurl: 'https://cdn.example.com' } }
  await using app = await startTellingApp(sink, { sections: { middleware: { storage: [toCdn] } } })
  await pushBlob(app.url, 'marker', emptyBlob)
  const digest = await pushBlob(app.url, 'a', randomBlob(1000).bytes)
  await sink.until(2)
  const client = await clientOf(app.url, sink)
  const [told, ...others] = await client.told(307, `a/blobs/${digest}`)
  assert.partialDeepStrictEqual(told, { action: 'pull', target: { digest, repository: 'a' } })
  assert.deepEqual(others, [])
})

test('the client behind a trusted proxy is told as such, however its address begins, and what it asked for', async () => {
  await using sink = await startSink()
  const http = { addr: '127.0.0.1:0', draintimeout: '0s', trustedproxies: ['127.0.0.1'] }
  await using app = await startTellingApp(sink, { sections: { http } })
  const digest = await pushBlob(app.url, 'a', emptyBlob)
  for (const address of ['27.0.0.1', '192.0.2.7']) {
    const headers = { 'x-forwarded-for': address, 'x-forwarded-host': `to.${address}` }
    await ask(`${app.url}/v2/a/blobs/${digest}`, { method: 'HEAD', headers })
  }
  const [pushed, ...told] = await sink.until(3)
  assert.match(pushed?.request?.['addr'] ?? '', /^127\.0\.0\.1:\d+$/)
  assert.deepEqual(
    told.map(({ request }) => [request?.['addr'], request?.['host']]),
    [
      ['27.0.0.1', 'to.27.0.0.1'],
      ['192.0.2.7', 'to.192.0.2.7'],
    ],
  )
})

test('a pull of a blob is told when its last byte was taken, and not where the client left before', async () => {
  await using sink = await startSink()
  await using app = await startTellingApp(sink)
  const { bytes } = randomBlob(64 * 1024 * 1024)
  const large = await pushBlob(app.url, 'a', bytes)
  const small = await pushBlob(app.url, 'a', emptyBlob)
  const left = await open(`${app.url}/v2/a/blobs/${large}`)
  left.destroy()
  await app.until(({ msg }) => msg === 'request aborted')
  assert.equal((await ask(`${app.url}/v2/a/blobs/${small}`)).status, 200)
  const told = await sink.until(3)
  assert.deepEqual(
    told.map(({ action, target }) => [action, target['digest']]),
    [
      ['push', large],
      ['push', small],
      ['pull', small],
    ],
  )
})

test('references cost no pull from an upstream: a HEAD by digest of what is not here goes without', async () => {
  await using origin = await startOrigin()
  const { manifest } = await origin.addImage('app', 'v1', [randomBlob(1000).bytes])
  await using sink = await startSink()
  await using app = await startTellingApp(sink, {
    notifications: { events: { includereferences: true }, endpoints: [{ url: sink.url.href }] },
    sections: { proxy: { upstreams: { up: { url: origin.url, default: true } } } },
  })
  assert.equal((await ask(`${app.url}/v2/app/manifests/${manifest}`, { method: 'HEAD' })).status, 200)
  const [told] = await sink.until(1)
  assert.deepEqual([told?.action, told?.target['digest'], told?.target['references']], ['pull', manifest, undefined])
  assert.ok(
    origin.seen.every((line) => !line.startsWith('GET /v2/app/manifests')),
    origin.seen.join(),
  )
})

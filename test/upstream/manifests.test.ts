import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { digestOf } from '../../src/oci/digest.ts'
import { maxManifestSize } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { reply, scriptedServer } from '../support/scripted-server.ts'
import { failure, latest, manifest, manifestDigest, name, upstreamAt } from './fixture.ts'

const other = Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [] }))

test('a manifest is asked for with all types that we know, and typed by its own words', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'content-type': 'text/plain' }, manifest),
  )
  await using upstream = upstreamAt(server.url)
  const { descriptor, bytes } = await upstream.repository(name).manifests.get(manifestDigest)
  assert.deepEqual(descriptor, { mediaType: mediaTypes.ociIndex, digest: manifestDigest, size: manifest.length })
  assert.deepEqual(bytes, manifest)
  assert.equal(
    server.requests[0]?.headers.accept,
    'application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, ' +
      'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1',
  )
})

test('a manifest by sha512 is verified as such', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  await using upstream = upstreamAt(server.url)
  const { manifests } = upstream.repository(name)
  const digest = digestOf(manifest, 'sha512')
  assert.equal((await manifests.get(digest)).descriptor.digest, digest)
  await failure(manifests.get(digestOf(other, 'sha512')), 'invalid')
})

const schema1 = Buffer.from(JSON.stringify({ schemaVersion: 1, name: 'a', fsLayers: [] }))
const errorDocument = Buffer.from(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN' }] }))
const html = Buffer.from('<html>please sign in</html>')

/** Served with the right digest where one is asked for: what is wrong is the document, or how it comes. */
const wrong: ReadonlyArray<{ why: string; bytes: Buffer; answer?: (to: ServerResponse, bytes: Buffer) => void }> = [
  { why: 'HTML', bytes: html },
  { why: 'empty', bytes: Buffer.alloc(0) },
  { why: 'an error document', bytes: errorDocument },
  { why: 'schema 1', bytes: schema1 },
  { why: 'JSON that is cut off', bytes: manifest.subarray(0, -1) },
  {
    why: 'encoded',
    bytes: manifest,
    answer: (to, bytes) => reply(to, 200, { 'content-encoding': 'gzip' }, gzipSync(bytes)),
  },
  { why: 'too large, and says so', bytes: Buffer.alloc(maxManifestSize + 1, ' ') },
  {
    why: 'too large, and does not say so',
    bytes: Buffer.alloc(0),
    answer: (to) => {
      to.writeHead(200)
      const more = (): void => {
        while (!to.destroyed && to.write(Buffer.alloc(65_536, ' ')));
      }
      to.on('drain', more)
      more()
    },
  },
]

for (const { why, bytes, answer = (to: ServerResponse, body: Buffer): void => reply(to, 200, {}, body) } of wrong) {
  test(`T-17, P1: a manifest that is ${why} is refused, by digest and by tag`, async () => {
    await using server = await scriptedServer((_request, response) => answer(response, bytes))
    await using upstream = upstreamAt(server.url)
    const { manifests, tags } = upstream.repository(name)
    await failure(manifests.get(digestOf(bytes)), 'invalid')
    await failure(tags.get(latest), 'invalid')
  })
}

test('T-16, P1: another manifest than the one asked for is refused', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'docker-content-digest': manifestDigest }, other),
  )
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'invalid')
})

test('P1: a manifest that is cut off is no manifest', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': String(manifest.length) })
    response.write(manifest.subarray(0, 10), () => response.socket?.destroy())
  })
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
})

test('a tag gives the manifest, with the digest of its bytes', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  await using upstream = upstreamAt(server.url)
  const { descriptor } = await upstream.repository(name).tags.get(latest)
  assert.deepEqual(descriptor, { mediaType: mediaTypes.ociIndex, digest: manifestDigest, size: manifest.length })
})

test("a tag's digest is of the algorithm that the registry uses", async () => {
  const digest = digestOf(manifest, 'sha512')
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'docker-content-digest': digest }, manifest),
  )
  await using upstream = upstreamAt(server.url)
  assert.equal((await upstream.repository(name).tags.get(latest)).descriptor.digest, digest)
})

test('T-67, P1: a tag whose header announces another digest than its bytes have is refused', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'docker-content-digest': digestOf(other) }, manifest),
  )
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).tags.get(latest), 'invalid')
})

test('P1: a tag whose body ends with the connection is refused: it could be cut off unseen', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.socket?.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${manifest.toString()}`)
  })
  await using upstream = upstreamAt(server.url)
  const { tags, manifests } = upstream.repository(name)
  await failure(tags.get(latest), 'invalid')
  assert.deepEqual((await manifests.get(manifestDigest)).bytes, manifest) // a digest knows better
})

test('P1: a chunked body without its end is refused', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200)
    response.write(manifest, () => response.socket?.destroy())
  })
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).tags.get(latest), 'unavailable')
})

test('a tag is found by one HEAD', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, {
      'docker-content-digest': manifestDigest,
      'content-type': `${mediaTypes.ociIndex}; charset=utf-8`,
      'content-length': '42',
    }),
  )
  await using upstream = upstreamAt(server.url)
  const expected = { mediaType: mediaTypes.ociIndex, digest: manifestDigest, size: 42 }
  const { tags, manifests } = upstream.repository(name)
  assert.deepEqual(await tags.find(latest), expected)
  assert.deepEqual(await tags.resolve(latest), expected)
  assert.deepEqual(await manifests.stat(manifestDigest), expected)
  assert.deepEqual(
    server.requests.map(({ method }) => method),
    ['HEAD', 'HEAD', 'HEAD'],
  )
})

const good = { 'docker-content-digest': manifestDigest, 'content-type': mediaTypes.ociIndex, 'content-length': '42' }

const unusable: ReadonlyArray<[string, number, Record<string, string>]> = [
  ['405', 405, {}],
  ['501', 501, {}],
  ['no digest', 200, { 'content-type': mediaTypes.ociIndex }],
  ['a digest that is none', 200, { ...good, 'docker-content-digest': 'sha256:abc' }],
  ['HTML', 200, { ...good, 'content-type': 'text/html' }],
]

for (const [why, status, headers] of unusable) {
  test(`a HEAD that answers ${why} says nothing, and a GET decides`, async () => {
    await using server = await scriptedServer(({ method }, response) =>
      method === 'HEAD' ? reply(response, status, headers) : reply(response, 200, {}, manifest),
    )
    await using upstream = upstreamAt(server.url)
    const { tags, manifests } = upstream.repository(name)
    assert.equal(await tags.find(latest), undefined)
    assert.equal((await tags.resolve(latest)).digest, manifestDigest)
    assert.equal((await manifests.stat(manifestDigest)).digest, manifestDigest)
  })
}

for (const [what, length] of [
  ['no length', {}],
  ['a length of 0', { 'content-length': '0' }],
] as const) {
  test(`T-30: a HEAD with ${what} says what a tag points at, but not how large a manifest is`, async () => {
    await using server = await scriptedServer(({ method }, response) =>
      method === 'HEAD'
        ? reply(response, 200, {
            'docker-content-digest': manifestDigest,
            'content-type': mediaTypes.ociIndex,
            ...length,
          })
        : reply(response, 200, {}, manifest),
    )
    await using upstream = upstreamAt(server.url)
    const { tags, manifests } = upstream.repository(name)
    assert.equal((await tags.find(latest))?.digest, manifestDigest)
    assert.equal((await manifests.stat(manifestDigest)).size, manifest.byteLength)
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ['HEAD', 'HEAD', 'GET'],
    )
  })
}

test('a HEAD whose redirect leads to a URL that is signed for GET says nothing', async () => {
  await using cdn = await scriptedServer(({ method }, response) =>
    method === 'HEAD' ? reply(response, 403) : reply(response, 200, {}, manifest),
  )
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `${cdn.url.origin}/signed` }),
  )
  await using upstream = upstreamAt(server.url)
  assert.equal(await upstream.repository(name).tags.find(latest), undefined)
  assert.equal((await upstream.repository(name).tags.resolve(latest)).digest, manifestDigest)
})

test('P1: a HEAD that names another digest than the one asked for is refused', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, good))
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).manifests.stat(digestOf(other)), 'invalid')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { blob, blobDigest, canary, failure, latest, manifest, name, password, upstreamAt } from './fixture.ts'

test('P8: a redirect keeps Range and Accept, and leaves the password behind', async () => {
  await using cdn = await scriptedServer((_request, response) =>
    reply(response, 206, { 'content-range': `bytes 10-${blob.length - 1}/${blob.length}` }, blob.subarray(10)),
  )
  await using server = await scriptedServer(({ authorization }, response) => {
    if (authorization === undefined) reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
    else reply(response, 307, { location: `${cdn.url.origin}/signed?X-Signature=1` }, 'go there')
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  const { body, start } = await upstream.repository(name).blobs.fetch(blobDigest, { start: 10 })
  assert.equal(start, 10)
  assert.deepEqual(await collect(body, 10_000), blob.subarray(10))
  const [request] = cdn.requests
  assert.equal(request?.url, '/signed?X-Signature=1')
  assert.equal(request?.authorization, undefined)
  assert.equal(request?.headers.range, 'bytes=10-')
  assert.equal(request?.headers['accept-encoding'], 'identity')
  assert.equal(request?.headers['user-agent'], 'entrepot/test')
  assert.ok(server.requests.at(-1)?.authorization?.startsWith('Basic '))
})

for (const status of [301, 302, 303, 307, 308]) {
  test(`HEAD stays HEAD across a ${status}`, async () => {
    await using server = await scriptedServer(({ path, method }, response) => {
      if (path !== '/moved') reply(response, status, { location: '/moved' })
      else reply(response, 200, { 'content-length': '1000' }, method === 'HEAD' ? '' : blob)
    })
    await using upstream = upstreamAt(server.url)
    assert.equal((await upstream.repository(name).blobs.stat(blobDigest)).size, 1000)
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ['HEAD', 'HEAD'],
    )
  })
}

test('T-21, P7: five redirects are followed, not six', async () => {
  await using server = await scriptedServer(({ query, path }, response) => {
    const left = Number(query.get('left') ?? (path.includes('latest') ? 5 : 6))
    if (left === 0) reply(response, 200, {}, manifest)
    else reply(response, 302, { location: `/hop?left=${left - 1}` })
  })
  await using upstream = upstreamAt(server.url)
  const { tags, blobs } = upstream.repository(name)
  assert.deepEqual((await tags.get(latest)).bytes, manifest)
  await failure(blobs.fetch(blobDigest), 'invalid')
})

test('P8: a redirect that may not be followed is refused without a word of its URL', async () => {
  const recording = recordingLogger()
  const locations = [
    `file:///etc/passwd?${canary}`,
    `http://user:${canary}@127.0.0.1/`,
    `//x/${canary}`,
    `https://${canary} .example`,
    '',
  ]
  let location: string | undefined
  await using server = await scriptedServer((_request, response) =>
    reply(response, 302, location === undefined ? {} : { location }),
  )
  await using upstream = upstreamAt(server.url, { logger: recording.logger })
  await failure(upstream.repository(name).blobs.fetch(blobDigest), 'invalid')
  for (location of locations) await failure(upstream.repository(name).blobs.fetch(blobDigest), 'invalid')
  assert.ok(!recording.text().includes(canary))
})

test('P8: what a redirect leads to does not show a signed URL in its errors', async () => {
  await using cdn = await scriptedServer((_request, response) =>
    reply(response, 403, { 'content-type': 'application/xml' }, `<Error>${canary}</Error>`),
  )
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `${cdn.url.origin}/b?sig=${canary}` }),
  )
  await using upstream = upstreamAt(server.url)
  const error = await failure(upstream.repository(name).blobs.fetch(blobDigest), 'unavailable')
  assert.equal(error.host, cdn.host)
  assert.equal(error.message, `${cdn.host} answered 403`)
})

test('T-21: each fetch begins at the registry: a redirect is not remembered', async () => {
  await using server = await scriptedServer(({ path }, response) =>
    path === '/signed' ? reply(response, 200, {}, blob) : reply(response, 307, { location: '/signed' }),
  )
  await using upstream = upstreamAt(server.url)
  for (let round = 0; round < 2; round += 1) {
    await collect((await upstream.repository(name).blobs.fetch(blobDigest)).body, 10_000)
  }
  assert.deepEqual(
    server.requests.map(({ path }) => path.startsWith('/v2/')),
    [true, false, true, false],
  )
})

test('a manifest may lie in another registry, which is asked anonymously with a token for its own scope', async () => {
  await using other: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    if (path === '/token') reply(response, 200, {}, { token: 'theirs' })
    else if (authorization === 'Bearer theirs') reply(response, 200, {}, manifest)
    else reply(response, 401, { 'www-authenticate': `Bearer realm="${other.url.origin}/token",service="theirs"` })
  })
  await using server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    if (path === '/token') reply(response, 200, {}, { token: 'ours' })
    else if (authorization === 'Bearer ours')
      reply(response, 307, { location: `${other.url.origin}/v2/mirrors/k8s/alpine/manifests/latest` })
    else reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token",service="ours"` })
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  const { tags } = upstream.repository(name)
  assert.deepEqual((await tags.get(latest)).bytes, manifest)
  await tags.get(latest)
  assert.deepEqual(other.log(), [
    'GET /v2/mirrors/k8s/alpine/manifests/latest',
    'GET /token?service=theirs&scope=repository%3Amirrors%2Fk8s%2Falpine%3Apull',
    'GET /v2/mirrors/k8s/alpine/manifests/latest',
    'GET /v2/mirrors/k8s/alpine/manifests/latest',
  ])
  assert.ok(other.requests.every(({ authorization }) => [undefined, 'Bearer theirs'].includes(authorization)))
})

test('P8: a host that claims our token server gets neither our token nor our password', async () => {
  const token = (authorization: string | undefined): string =>
    authorization === undefined ? 'anonymous' : `secret-${canary}`
  await using sink: ScriptedServer = await scriptedServer((_request, response) => {
    const challenge = `Bearer realm="${server.url.origin}/token",service="registry"`
    reply(response, 401, { 'www-authenticate': [challenge, 'Basic realm="give"'] })
  })
  await using server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    if (path === '/token') reply(response, 200, {}, { token: token(authorization) })
    else if (authorization === `Bearer secret-${canary}`)
      reply(response, 307, { location: `${sink.url.origin}/v2/${name}/manifests/latest` })
    else reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token",service="registry"` })
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await failure(upstream.repository(name).tags.get(latest), 'denied')
  assert.deepEqual(
    sink.requests.map(({ authorization }) => authorization),
    [undefined, 'Bearer anonymous'],
  )
  assert.ok(!JSON.stringify(sink.requests).includes(canary))
})

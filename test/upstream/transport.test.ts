import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { deferred } from '../../src/async/deferred.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import type { Resolve } from '../../src/upstream/bounds.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { blob, blobDigest, failure, latest, manifest, manifestDigest, name, upstreamAt } from './fixture.ts'

test('connections are kept, also after a HEAD', async () => {
  await using server = await scriptedServer(({ method }, response) =>
    reply(response, 200, { 'content-length': String(manifest.length) }, method === 'HEAD' ? '' : manifest),
  )
  await using upstream = upstreamAt(server.url)
  const { manifests, blobs } = upstream.repository(name)
  for (let round = 0; round < 3; round += 1) {
    await blobs.stat(blobDigest)
    await manifests.get(manifestDigest)
  }
  assert.ok(server.connections() <= 2) // one may still be on its way back when the next request comes
})

test('T-25: a kept connection that the other side had closed is no error: the request is sent once more', async () => {
  await using server = await scriptedServer(({ nth }, response) => {
    if (nth > 1) response.socket?.destroy()
    else reply(response, 200, {}, manifest)
  })
  await using upstream = upstreamAt(server.url)
  const { manifests } = upstream.repository(name)
  for (let round = 0; round < 3; round += 1) await manifests.get(manifestDigest)
  assert.ok(server.connections() > 1)
})

test('a registry that resets every connection is unavailable after two tries', async () => {
  await using server = await scriptedServer((_request, response) => void response.socket?.destroy())
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  assert.equal(server.requests.length, 2)
})

test('T-13, P7: a registry that accepts and never answers is a timeout, asked once', async () => {
  await using server = await scriptedServer(() => {})
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 1000, firstByte: 50, idle: 1000 } })
  await failure(upstream.repository(name).tags.find(latest), 'timeout')
  assert.equal(server.requests.length, 1)
})

test('P7: a document that stalls is a timeout', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('{')
  })
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 1000, firstByte: 1000, idle: 50 } })
  await failure(upstream.repository(name).tags.get(latest), 'timeout')
})

test('P7: a document that drips is a timeout', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': '10000' })
    const timer = setInterval(() => response.write('{'), 10)
    response.on('close', () => clearInterval(timer))
  })
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 1000, firstByte: 100, idle: 100 } })
  await failure(upstream.repository(name).tags.get(latest), 'timeout')
})

test('T-24, P10: hosts that cannot be reached are said to be unreachable', async () => {
  const closed = await scriptedServer(() => {})
  await closed[Symbol.asyncDispose]()
  await using plain = await scriptedServer((_request, response) => reply(response, 200))
  const urls = [closed.url, new URL('http://registry.invalid'), new URL(`https://${plain.host}`)]
  for (const url of urls) {
    await using upstream = upstreamAt(url)
    const error = await failure(upstream.repository(name).blobs.stat(blobDigest), 'unreachable')
    assert.match(error.message, new RegExp(`^${url.host} cannot be reached`))
  }
  assert.equal(plain.requests.length, 0) // and TLS is not given up for it
})

const [v4, v6] = [{ address: '127.0.0.1', family: 4 } as const, { address: '::1', family: 6 } as const]

test('T-24: an address that does not answer costs nothing where the name has another', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  const url = new URL(`http://registry.test:${server.url.port}`) // listens on the IPv4 address alone
  for (const addresses of [[v6, v4], [v4, v6], [v4]]) {
    await using upstream = upstreamAt(url, { resolve: (_, __, callback) => callback(null, addresses) })
    await upstream.repository(name).manifests.get(manifestDigest)
  }
})

for (const code of ['ENOTFOUND', 'ESERVFAIL', 'EAI_AGAIN']) {
  test(`T-24, P10: a name server that says ${code} is asked again by the next request`, async () => {
    await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
    const url = new URL(`http://registry.test:${server.url.port}`)
    let isFound = false
    const resolve: Resolve = (_, __, callback) => {
      if (isFound) callback(null, [v4])
      else callback(Object.assign(new Error('no such name'), { code }), [])
      isFound = !isFound
    }
    await using upstream = upstreamAt(url, { resolve })
    const { manifests } = upstream.repository(name)
    const error = await failure(manifests.get(manifestDigest), 'unreachable')
    assert.equal(error.message, `${url.host} cannot be reached (${code})`)
    await manifests.get(manifestDigest)
  })
}

test('T-24, P7: a name server that never answers is given up', async () => {
  const timeouts = { connect: 50, firstByte: 50, idle: 1000 }
  await using upstream = upstreamAt(new URL('http://registry.test'), { resolve: () => {}, timeouts })
  const error = await upstream
    .repository(name)
    .manifests.get(manifestDigest)
    .catch((reason: unknown) => reason)
  assert.ok(error instanceof UpstreamError && ['timeout', 'unreachable'].includes(error.failure), String(error))
})

test('an answer that is not HTTP is invalid', async () => {
  await using server = await scriptedServer((_request, response) => void response.socket?.end('SSH-2.0-OpenSSH\r\n'))
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'invalid')
})

const statuses: ReadonlyArray<[number, Parameters<typeof failure>[1]]> = [
  [400, 'invalid'],
  [403, 'denied'],
  [418, 'invalid'],
  [429, 'rate-limited'],
  [500, 'unavailable'],
  [503, 'unavailable'],
  [204, 'invalid'],
]

for (const [status, expected] of statuses) {
  test(`P10: a ${status} is ${expected}, with the code that the registry gives`, async () => {
    await using server = await scriptedServer((_request, response) =>
      reply(response, status, { 'retry-after': '17' }, { errors: [{ code: 'SOME_CODE', message: '<html>' }] }),
    )
    await using upstream = upstreamAt(server.url)
    const { manifests, blobs, tags } = upstream.repository(name)
    for (const work of [manifests.get(manifestDigest), blobs.fetch(blobDigest), Array.fromAsync(tags.list())]) {
      const error = await failure(work, expected)
      assert.equal(error.status, status)
      assert.equal(error.retryAfter, 17)
      assert.equal(error.message, `${server.host} answered ${status}${status === 204 ? '' : ' (SOME_CODE)'}`)
    }
  })
}

test('P10: an error page is not repeated', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 502, { 'content-type': 'text/html' }, '<html><script>'.repeat(100_000)),
  )
  await using upstream = upstreamAt(server.url)
  const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  assert.equal(error.message, `${server.host} answered 502`)
})

test('what is not there is absence, not a failure', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 404, {}, { errors: [{ code: 'NAME_UNKNOWN' }] }),
  )
  await using upstream = upstreamAt(server.url)
  const { manifests, blobs, tags } = upstream.repository(name)
  const cases: ReadonlyArray<[Promise<unknown>, string]> = [
    [manifests.get(manifestDigest), 'MANIFEST_UNKNOWN'],
    [manifests.stat(manifestDigest), 'MANIFEST_UNKNOWN'],
    [tags.find(latest), 'MANIFEST_UNKNOWN'],
    [tags.get(latest), 'MANIFEST_UNKNOWN'],
    [tags.resolve(latest), 'MANIFEST_UNKNOWN'],
    [blobs.stat(blobDigest), 'BLOB_UNKNOWN'],
    [blobs.fetch(blobDigest), 'BLOB_UNKNOWN'],
    [Array.fromAsync(tags.list()), 'NAME_UNKNOWN'],
  ]
  for (const [work, code] of cases) {
    await assert.rejects(work, (error) => error instanceof RegistryError && error.code === code)
  }
})

test("a caller's abort is thrown as its own reason, before and after the headers", async () => {
  const asked = deferred()
  await using server = await scriptedServer(({ path }, response) => {
    if (path.includes('/blobs/')) {
      response.writeHead(200, { 'content-length': String(blob.length) })
      response.write(blob.subarray(0, 10))
    } else asked.resolve()
  })
  await using upstream = upstreamAt(server.url)
  const { manifests, blobs } = upstream.repository(name)
  const reason = new Error('the client left')

  const early = new AbortController()
  const waiting = manifests.get(manifestDigest, { signal: early.signal })
  await asked.promise
  early.abort(reason)
  await assert.rejects(waiting, (error) => error === reason)
  await assert.rejects(
    manifests.get(manifestDigest, { signal: AbortSignal.abort(reason) }),
    (error) => error === reason,
  )

  const late = new AbortController()
  const { body } = await blobs.fetch(blobDigest, { signal: late.signal })
  const read = async (): Promise<void> => {
    for await (const chunk of body) {
      assert.equal(chunk.byteLength, 10)
      late.abort(reason)
    }
  }
  await assert.rejects(read(), (error) => error === reason)
})

test('disposing the upstream cuts off what is running', async () => {
  const asked = deferred()
  await using server = await scriptedServer(() => asked.resolve())
  const upstream = upstreamAt(server.url)
  const waiting = failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  await asked.promise
  await upstream[Symbol.asyncDispose]()
  await waiting
})

test('an upstream that is disposed before it was ever asked is not asked', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  const upstream = upstreamAt(server.url)
  await upstream[Symbol.asyncDispose]()
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  assert.equal(server.connections(), 0)
})

/** Serves its documents as it should, and blobs that begin and then stand still. */
async function slowBlobs(): Promise<ScriptedServer> {
  const server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    if (path === '/token') reply(response, 200, {}, { token: `t${server.requests.length}` })
    else if (authorization === undefined) {
      reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token"` })
    } else if (!path.includes('/blobs/')) reply(response, 200, {}, manifest)
    else response.writeHead(200, { 'content-length': blob.length }).write(blob.subarray(0, 1)) // and no more
  })
  return server
}

test('P4: blobs that come slowly hold up no manifest, no tag and no token', async () => {
  await using server = await slowBlobs()
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 2000, firstByte: 2000, idle: 60_000 } })
  const { blobs, manifests, tags } = upstream.repository(name)
  const slow = await Promise.all(Array.from({ length: 64 }, async () => await blobs.fetch(blobDigest)))
  await manifests.get(manifestDigest)
  await tags.get(latest)
  await upstream.repository(parseRepositoryName('needs/another-token')).manifests.get(manifestDigest)
  for (const { body } of slow) await body[Symbol.asyncDispose]()
})

test('P7: waiting for a free connection ends like any other wait, and a connection that is free again is used', async () => {
  await using server = await slowBlobs()
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 1000, firstByte: 1000, idle: 60_000 } })
  const { blobs } = upstream.repository(name)
  const slow = await Promise.all(Array.from({ length: 64 }, async () => await blobs.fetch(blobDigest)))
  await failure(blobs.fetch(blobDigest), 'timeout')
  for (const { body } of slow) await body[Symbol.asyncDispose]()
  await (await blobs.fetch(blobDigest)).body[Symbol.asyncDispose]()
})

test('T-14, P7: a blob that drips is a timeout after half a minute, one that comes fast enough is not', async (t) => {
  let now = Math.round(performance.now()) // fractions would not add up
  t.mock.method(performance, 'now', () => now)
  for (const [size, fate] of [
    [29 * 1024, 'timeout'],
    [30 * 1024, 'goes on'],
  ] as const) {
    const more = deferred<ServerResponse>()
    await using server = await scriptedServer((_request, response) => {
      response.writeHead(200, { 'content-length': 1_000_000 }).write(Buffer.alloc(size))
      more.resolve(response)
    })
    await using upstream = upstreamAt(server.url)
    const { body } = await upstream.repository(name).blobs.fetch(blobDigest)
    const chunks = body[Symbol.asyncIterator]()
    for (let read = 0; read < size; read += (await chunks.next()).value?.byteLength ?? 0);
    const next = chunks.next()
    now += 30_000
    const response = await more.promise
    response.write('x')
    if (fate === 'timeout') await failure(next, 'timeout')
    else assert.equal((await next).value?.byteLength, 1)
    await body[Symbol.asyncDispose]()
  }
})

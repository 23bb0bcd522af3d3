import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { deferred } from '../../src/async/deferred.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { reply, scriptedServer } from '../support/scripted-server.ts'
import { blob, blobDigest, failure, name, upstreamAt } from './fixture.ts'

const size = blob.length
const tail = blob.subarray(10)
const whole = `bytes 10-${size - 1}/${size}`

test('a blob is fetched as it comes', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, blob))
  await using upstream = upstreamAt(server.url)
  const fetched = await upstream.repository(name).blobs.fetch(blobDigest)
  assert.equal(fetched.size, size)
  assert.equal(fetched.start, 0)
  assert.deepEqual(await collect(fetched.body, 10_000), blob)
  assert.equal(server.requests[0]?.headers.range, undefined)
})

test('a chunked blob has no size until it is here', async () => {
  await using server = await scriptedServer((_request, response) => void response.end(blob))
  await using upstream = upstreamAt(server.url)
  await using chunked = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' })
    response.end(blob)
  })
  await using other = upstreamAt(chunked.url)
  const fetched = await other.repository(name).blobs.fetch(blobDigest)
  assert.equal(fetched.size, undefined)
  assert.deepEqual(await collect(fetched.body, 10_000), blob)
  assert.deepEqual(await collect((await upstream.repository(name).blobs.fetch(blobDigest)).body, 10_000), blob)
})

test('P5: a blob goes on from the byte reached', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 206, { 'content-range': whole }, tail),
  )
  await using upstream = upstreamAt(server.url)
  const fetched = await upstream.repository(name).blobs.fetch(blobDigest, { start: 10 })
  assert.equal(fetched.size, size)
  assert.equal(fetched.start, 10)
  assert.deepEqual(await collect(fetched.body, 10_000), tail)
  assert.equal(server.requests[0]?.headers.range, 'bytes=10-')
})

test('P5: a registry that knows no ranges begins again at 0', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, blob))
  await using upstream = upstreamAt(server.url)
  const fetched = await upstream.repository(name).blobs.fetch(blobDigest, { start: 10 })
  assert.equal(fetched.start, 0)
  assert.deepEqual(await collect(fetched.body, 10_000), blob)
})

const badParts: ReadonlyArray<{ why: string; answer: (to: ServerResponse) => void }> = [
  { why: 'no Content-Range', answer: (to) => reply(to, 206, {}, tail) },
  { why: 'another start', answer: (to) => reply(to, 206, { 'content-range': `bytes 9-${size - 1}/${size}` }, tail) },
  { why: 'an unknown total', answer: (to) => reply(to, 206, { 'content-range': `bytes 10-${size - 1}/*` }, tail) },
  { why: 'an earlier end', answer: (to) => reply(to, 206, { 'content-range': `bytes 10-19/${size}` }, 'x'.repeat(10)) },
  { why: 'another length', answer: (to) => reply(to, 206, { 'content-range': whole }, blob) },
  {
    why: 'several parts',
    answer: (to) => reply(to, 206, { 'content-type': 'multipart/byteranges; boundary=x' }, tail),
  },
  {
    why: 'an encoding',
    answer: (to) => reply(to, 206, { 'content-range': whole, 'content-encoding': 'gzip' }, tail),
  },
  {
    why: 'no length',
    answer: (to) => {
      to.writeHead(206, { 'content-range': whole, 'transfer-encoding': 'chunked' })
      to.end(tail)
    },
  },
  { why: '416', answer: (to) => reply(to, 416, { 'content-range': `bytes */${size}` }) },
]

for (const { why, answer } of badParts) {
  test(`P1: a part with ${why} is not put behind other bytes`, async () => {
    await using server = await scriptedServer((_request, response) => answer(response))
    await using upstream = upstreamAt(server.url)
    await failure(upstream.repository(name).blobs.fetch(blobDigest, { start: 10 }), 'invalid')
  })
}

test('P1: a part that nobody asked for is refused', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 206, { 'content-range': `bytes 0-${size - 1}/${size}` }, blob),
  )
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).blobs.fetch(blobDigest), 'invalid')
})

test('T-29, P1: an encoded blob is refused', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'content-encoding': 'gzip' }, blob),
  )
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).blobs.fetch(blobDigest), 'invalid')
})

test('P1: a blob that says it is another is refused', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'docker-content-digest': digestOf('other') }, blob),
  )
  await using upstream = upstreamAt(server.url)
  await failure(upstream.repository(name).blobs.fetch(blobDigest), 'invalid')
  await failure(upstream.repository(name).blobs.stat(blobDigest), 'invalid')
})

for (const how of ['announced', 'chunked'] as const) {
  for (const at of [0, 1, size - 1]) {
    test(`T-10, T-11, P1: a blob (${how}) whose connection breaks after ${at} bytes fails, it does not end`, async () => {
      await using server = await scriptedServer((_request, response) => {
        response.writeHead(200, how === 'announced' ? { 'content-length': String(size) } : {})
        response.flushHeaders()
        response.write(blob.subarray(0, at), () => response.socket?.destroySoon())
      })
      await using upstream = upstreamAt(server.url)
      const { body } = await upstream.repository(name).blobs.fetch(blobDigest)
      await failure(collect(body, 10_000), 'unavailable')
    })
  }
}

test('T-15, P1: bytes beyond the announced length are cut off, and the connection is not used again', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n${blob.toString()}HTTP/1.1 200 OK\r\n`)
  })
  await using upstream = upstreamAt(server.url)
  const { blobs } = upstream.repository(name)
  for (let round = 0; round < 3; round += 1) {
    assert.deepEqual(await collect((await blobs.fetch(blobDigest)).body, 10_000), blob)
  }
  assert.ok(server.requests.every(({ nth }) => nth === 1))
})

test('T-12, P7: a blob that stalls is a timeout', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': String(size) })
    response.write(blob.subarray(0, 10))
  })
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 1000, firstByte: 1000, idle: 50 } })
  const { body } = await upstream.repository(name).blobs.fetch(blobDigest)
  await failure(collect(body, 10_000), 'timeout')
})

test('a blob that is given up closes its connection: by its disposal, and by leaving the loop', async () => {
  let closed = deferred()
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': '1000000000' })
    response.write(blob)
    response.on('close', () => closed.resolve())
  })
  await using upstream = upstreamAt(server.url)
  const { blobs } = upstream.repository(name)
  {
    const { body } = await blobs.fetch(blobDigest)
    await body[Symbol.asyncDispose]()
    await body[Symbol.asyncDispose]()
  }
  await closed.promise
  closed = deferred()
  for await (const chunk of (await blobs.fetch(blobDigest)).body) {
    assert.ok(chunk.byteLength > 0)
    break
  }
  await closed.promise
})

test('disposing a blob that was read to its end keeps the connection', async () => {
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, blob))
  await using upstream = upstreamAt(server.url)
  for (let round = 0; round < 6; round += 1) {
    const { body } = await upstream.repository(name).blobs.fetch(blobDigest)
    await collect(body, 10_000)
    await body[Symbol.asyncDispose]()
  }
  assert.ok(server.connections() <= 2) // one may still be on its way back when the next request comes
})

test('a blob is described by one HEAD', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'content-length': '123', 'docker-content-digest': blobDigest }),
  )
  await using upstream = upstreamAt(server.url)
  const descriptor = await upstream.repository(name).blobs.stat(blobDigest)
  assert.deepEqual(descriptor, { mediaType: mediaTypes.octetStream, digest: blobDigest, size: 123 })
  assert.equal(server.requests.length, 1)
})

test('the size of a blob behind a URL that is signed for GET is asked for by one byte', async () => {
  let answer: (to: ServerResponse) => void = () => {}
  await using cdn = await scriptedServer(({ method }, response) =>
    method === 'HEAD' ? reply(response, 403) : answer(response),
  )
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `${cdn.url.origin}/signed` }),
  )
  await using upstream = upstreamAt(server.url)
  const { blobs } = upstream.repository(name)
  const cases: ReadonlyArray<[(to: ServerResponse) => void, number]> = [
    [(to) => reply(to, 206, { 'content-range': 'bytes 0-0/5000000000' }, 'x'), 5_000_000_000],
    [(to) => reply(to, 200, {}, blob), size],
    [(to) => reply(to, 416, { 'content-range': 'bytes */0' }), 0],
  ]
  for (const [each, expected] of cases) {
    answer = each
    assert.equal((await blobs.stat(blobDigest)).size, expected)
    assert.equal(cdn.requests.at(-1)?.headers.range, 'bytes=0-0')
  }
  answer = (to): void => reply(to, 206, { 'content-range': 'bytes 0-0/*' }, 'x')
  await failure(blobs.stat(blobDigest), 'invalid')
})

test('T-30: a registry without HEAD describes its blobs nevertheless', async () => {
  await using server = await scriptedServer(({ method }, response) =>
    method === 'HEAD' ? reply(response, 405) : reply(response, 206, { 'content-range': 'bytes 0-0/77' }, 'x'),
  )
  await using upstream = upstreamAt(server.url)
  assert.equal((await upstream.repository(name).blobs.stat(blobDigest)).size, 77)
})

test('T-30: a HEAD that says 0 is believed of the empty blob only', async () => {
  await using server = await scriptedServer(({ method }, response) =>
    method === 'HEAD'
      ? reply(response, 200, { 'content-length': '0' })
      : reply(response, 206, { 'content-range': 'bytes 0-0/77' }, 'x'),
  )
  await using upstream = upstreamAt(server.url)
  const { blobs } = upstream.repository(name)
  assert.equal((await blobs.stat(blobDigest)).size, 77)
  assert.equal((await blobs.stat(digestOf(Buffer.alloc(0)))).size, 0)
})

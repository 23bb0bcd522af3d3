import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { test } from 'node:test'
import { Connection, trusting, type Body } from '../../bench/client.ts'
import { makeAuthority } from '../support/certificates.ts'
import { blobOf, pieceEnd } from '../support/outside/objects.ts'
import { tlsFront } from '../support/tls-front.ts'

const size = 3 * 1024 * 1024 + 5
const seed = '00112233445566778899aabbccddeeff'

function bytesOf(): Buffer {
  const { read } = blobOf(size, Buffer.from(seed, 'hex'))
  const parts: Buffer[] = []
  for (let at = 0; at < size; at = pieceEnd(at, size)) parts.push(Buffer.from(read(at, pieceEnd(at, size))))
  return Buffer.concat(parts)
}

/** Answers each path with what stands there, and `/cut` with its first megabyte. */
async function serving(
  answers: Readonly<Record<string, Buffer>>,
): Promise<{ url: string; server: Server } & Disposable> {
  const server = createServer((request, response) => {
    const found = answers[request.url ?? '']
    response.writeHead(found === undefined ? 404 : 200, { 'content-length': String(found?.length ?? 0) })
    if (request.url === '/cut') response.write(found?.subarray(0, 1024 * 1024), () => response.destroy())
    else response.end(found)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    url: `http://127.0.0.1:${address.port}`,
    server,
    [Symbol.dispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

function changed(at: number): Buffer {
  const bytes = bytesOf()
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  return bytes
}

const blob: Body = { seed, size }
const text: Body = { text: 'a manifest' }

test('right answers are taken one after another on one connection', async () => {
  using served = await serving({ '/blob': bytesOf(), '/text': Buffer.from('a manifest') })
  using connection = await Connection.open(served.url)
  let begun = 0
  for (let time = 0; time < 3; time += 1) {
    assert.equal((await connection.get({ path: '/blob', body: blob }, () => (begun += 1))).size, size)
    assert.equal((await connection.get({ path: '/text', body: text })).size, 10)
    assert.equal((await connection.get({ path: '/text', body: undefined })).size, 10)
  }
  assert.equal(begun, 3)
})

test('the first byte is the first of the body, not of the head', async () => {
  using served = await serving({})
  const { promise: wanted, resolve: want } = Promise.withResolvers<void>()
  served.server.removeAllListeners('request').on('request', (_request, response) => {
    response.writeHead(200, { 'content-length': '10' })
    response.flushHeaders()
    void wanted.then(() => response.end('a manifest'))
  })
  using connection = await Connection.open(served.url)
  let headAt = 0
  const began = performance.now()
  const { firstByte, took, headSize } = await connection.get({ path: '/text', body: text }, () => {
    headAt = performance.now() - began
    want()
  })
  assert.ok(headAt > 0 && firstByte > headAt && took >= firstByte, `${headAt}, ${firstByte}, ${took}`)
  assert.ok(headSize > 30)
})

test('over TLS only a server that can prove itself is asked', async () => {
  const authority = makeAuthority()
  const { certificate, key } = authority.issue({ names: ['127.0.0.1'] })
  using served = await serving({ '/blob': bytesOf() })
  await using front = await tlsFront(new URL(served.url), { certificate, key }, { hostname: '127.0.0.1' })
  using connection = await Connection.open(front.url.href, trusting(authority.certificate))
  assert.equal((await connection.get({ path: '/blob', body: blob })).size, size)
  await assert.rejects(Connection.open(front.url.href, trusting(makeAuthority().certificate)), /certificate|signature/)
})

const wrong: readonly (readonly [string, string, Buffer | undefined, Body])[] = [
  ['a bit is wrong at the beginning', '/blob', changed(0), blob],
  ['a bit is wrong in the first bytes of a block', '/blob', changed(2 * 1024 * 1024 + 3), blob],
  ['a bit is wrong at the end', '/blob', changed(size - 1), blob],
  ['a byte is missing', '/blob', bytesOf().subarray(1), blob],
  ['a byte is too much', '/blob', Buffer.concat([bytesOf(), Buffer.alloc(1)]), blob],
  ['the body is cut', '/cut', bytesOf(), blob],
  ['a text is another one', '/text', Buffer.from('A manifest'), text],
  ['a text is shorter', '/text', Buffer.from('a manifes'), text],
  ['there is none', '/none', undefined, text],
]

for (const [what, path, bytes, body] of wrong) {
  test(`an answer is refused where ${what}`, async () => {
    using served = await serving(bytes === undefined ? {} : { [path]: bytes })
    using connection = await Connection.open(served.url)
    await assert.rejects(connection.get({ path, body }))
  })
}

// Uploads whose chunks are not what they seem, and two requests that write to one session.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { randomBlob } from '../support/origin.ts'

/** Where a new session goes on. */
async function begin(app: AppUnderTest): Promise<string> {
  const { status, headers } = await ask(`${app.url}/v2/app/blobs/uploads/`, { method: 'POST' })
  assert.equal(status, 202)
  return headers.location ?? ''
}

test('a chunk whose Content-Range cannot be read is told where to go on', async () => {
  await using app = await startAppUnderTest({})
  const patched = await ask(await begin(app), { method: 'PATCH', body: 'four' })
  for (const range of ['5-2', 'a-b', 'bytes */4', '']) {
    const headers = { 'content-range': range }
    const answer = await ask(patched.headers.location ?? '', { method: 'PATCH', body: 'four', headers })
    assert.equal(answer.status, 416, range)
    assert.deepEqual(answer.codes, ['RANGE_INVALID'])
    assert.match(answer.body.toString(), /Content-Range is not/)
    assert.equal(answer.headers['range'], '0-3')
    const status = await ask(answer.headers.location ?? '')
    assert.equal(status.headers['range'], '0-3')
  }
})

test('P2: of a body that is longer than its Content-Range says, nothing behind that range is kept', async () => {
  await using app = await startAppUnderTest({})
  const { bytes, digest } = randomBlob(200_000)
  const location = await begin(app)
  const longer = { method: 'PATCH', body: bytes, isChunked: true, headers: { 'content-range': '0-149999' } }
  const refused = await ask(location, longer)
  assert.equal(refused.status, 400)
  assert.deepEqual(refused.codes, ['SIZE_INVALID'])
  const status = await ask(location)
  assert.equal(status.headers['range'], '0-149999')
  const put = await ask(`${status.headers.location}&digest=${digest}`, { method: 'PUT', body: bytes.subarray(150_000) })
  assert.equal(put.status, 201)
  assert.ok((await ask(`${app.url}/v2/app/blobs/${digest}`)).body.equals(bytes))
})

test('a body that is shorter than its Content-Range says is refused', async () => {
  await using app = await startAppUnderTest({})
  const shorter = { method: 'PATCH', body: 'four', isChunked: true, headers: { 'content-range': '0-9' } }
  const refused = await ask(await begin(app), shorter)
  assert.deepEqual([refused.status, refused.codes], [400, ['SIZE_INVALID']])
})

test('T-57: a client that goes on while its old PATCH still runs is told where the session is now', async () => {
  await using app = await startAppUnderTest({})
  const { bytes, digest } = randomBlob(3000)
  const location = await begin(app)
  const old = request(location, { method: 'PATCH', agent: false, headers: { 'content-length': 2000 } })
  const oldAnswered = once(old, 'response') as Promise<[IncomingMessage]>
  old.write(bytes.subarray(0, 1000))
  let status = await ask(location)
  while (status.headers['range'] !== '0-999') status = await ask(location)

  const { host, hostname, port, pathname, search } = new URL(status.headers.location ?? '')
  const second = connect(Number(port), hostname)
  const head = ['content-length: 2000', 'expect: 100-continue', '', ''].join('\r\n')
  second.write(
    `GET /v2/ HTTP/1.1\r\nhost: ${host}\r\n\r\nPATCH ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n${head}`,
  )
  await once(second, 'data') // of what was asked before it: it waits for its turn now
  old.end(bytes.subarray(1000, 2000))
  assert.equal((await oldAnswered)[0].resume().statusCode, 202)
  let refused = ''
  for await (const chunk of second) refused += String(chunk)
  assert.match(refused, /^HTTP\/1\.1 416 [^]*\r\nrange: 0-1999\r\n/i) // and was not asked for its body
  const [, next] = /\r\nlocation: (\S+)\r\n/i.exec(refused) ?? []
  const put = await ask(`${next}&digest=${digest}`, { method: 'PUT', body: bytes.subarray(2000) })
  assert.equal(put.status, 201)
  assert.ok((await ask(`${app.url}/v2/app/blobs/${digest}`)).body.equals(bytes))
})

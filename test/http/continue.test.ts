// Clients that ask before they send a body: `Expect: 100-continue` (RFC 9110 §10.1.1).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import type { Handler, Request } from '../../src/http/exchange.ts'
import { listen } from '../../src/http/listener.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { Conversation, get } from '../support/conversation.ts'
import { saidTo } from '../support/raw-client.ts'

const options = { host: '127.0.0.1', port: 0, logger: silentLogger }

/** The head of a request with a body of four bytes. */
function put(path: string, ...lines: string[]): string {
  return [`PUT ${path} HTTP/1.1`, 'host: a', 'content-length: 4', 'expect: 100-continue', ...lines, '', ''].join('\r\n')
}

async function read({ body }: Request): Promise<Buffer> {
  let text = 'read '
  for await (const bytes of body) text += String(Buffer.from(bytes))
  return Buffer.from(text)
}

const handler: Handler = async (request) => {
  if (request.path === '/refused') return { status: 401, headers: {}, body: Buffer.from('no') }
  if (request.path === '/unread') return { status: 202, headers: {} }
  const body = await read(request)
  return request.path === '/wrong' ? { status: 400, headers: {}, body } : { status: 201, headers: {}, body }
}

test('who is refused hears so at once, is not asked for his body, and the connection is closed', async () => {
  await using listener = await listen(handler, options)
  for (const [path, status] of [
    ['/refused', 401],
    ['/unread', 202],
  ] as const) {
    const said = await saidTo(listener.url, put(path))
    assert.match(said, new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close\r\n`, 'i'))
    assert.doesNotMatch(said, / 100 /)
  }
  const noHost = 'PUT /read HTTP/1.1\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n'
  assert.match(await saidTo(listener.url, noHost), /^HTTP\/1\.1 400 /)
})

test('who may send is told when his body is read, and the connection goes on', async () => {
  await using listener = await listen(handler, options)
  using client = new Conversation(listener)
  for (const [path, end] of [
    ['/read', /^HTTP\/1\.1 201 [^]*read four$/],
    ['/wrong', /^HTTP\/1\.1 400 [^]*read four$/],
    ['/read', /^HTTP\/1\.1 201 [^]*read four$/],
  ] as const) {
    assert.equal(await client.ask(put(path)), 'HTTP/1.1 100 Continue\r\n\r\n')
    assert.match(await client.ask('four'), end)
  }
})

test('a handler that looks at the body and does not read it asks for nothing', async () => {
  const looked: unknown[] = []
  await using listener = await listen(async ({ body }) => {
    looked.push(body)
    return { status: 404, headers: {} }
  }, options)
  assert.match(await saidTo(listener.url, put('/')), /^HTTP\/1\.1 404 /)
  assert.equal(looked.length, 1)
})

test('the body of who does not wait to be told is read all the same', async () => {
  await using listener = await listen(handler, options)
  const refused = await saidTo(listener.url, `${put('/refused')}four`)
  assert.match(refused, /^HTTP\/1\.1 401 [^]*connection: close[^]*no$/i)
  const accepted = await saidTo(listener.url, `${put('/read', 'connection: close')}four`)
  assert.match(accepted, /^HTTP\/1\.1 100 [^]*HTTP\/1\.1 201 [^]*read four$/)
})

test('those before it on the connection are answered first, and it is told to go on when its turn has come', async () => {
  const gate = deferred()
  const asked: string[] = []
  await using listener = await listen(async (request) => {
    asked.push(request.path)
    if (request.method === 'PUT') return { status: 201, headers: {}, body: await read(request) }
    await gate.promise
    return { status: 200, headers: {}, body: Buffer.from(`this is ${request.path}`) }
  }, options)
  using client = new Conversation(listener)
  await client.send(get('/1') + get('/2') + put('/3'))
  gate.resolve()
  assert.match(await client.answer(), /^HTTP\/1\.1 200 [^]*this is \/1$/)
  assert.match(await client.answer(), /^HTTP\/1\.1 200 [^]*this is \/2$/)
  assert.equal(await client.answer(), 'HTTP/1.1 100 Continue\r\n\r\n')
  assert.match(await client.ask('four'), /^HTTP\/1\.1 201 [^]*read four$/)
  assert.match(await client.ask(get('/4')), /this is \/4$/)
  assert.deepEqual(asked, ['/1', '/2', '/3', '/4'])
})

test('HTTP/1.0 does not know of it, and who has no body need not be told', async () => {
  await using listener = await listen(handler, options)
  const old = put('/read').replace('HTTP/1.1', 'HTTP/1.0')
  assert.match(await saidTo(listener.url, `${old}four`), /^HTTP\/1\.1 201 [^]*read four$/)
  using client = new Conversation(listener)
  for (const lines of [[], ['content-length: 0']]) {
    let answer = await client.ask(get('/unread', 'expect: 100-continue', ...lines))
    if (answer.startsWith('HTTP/1.1 100')) answer = await client.answer()
    assert.match(answer, /^HTTP\/1\.1 202 [^]*keep-alive/i)
  }
})

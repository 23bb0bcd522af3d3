// What Node's parser makes no request of: it is answered like any refusal, and stands in the log.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { connect as connectSecurely } from 'node:tls'
import { deferred } from '../../src/async/deferred.ts'
import type { Handler } from '../../src/http/exchange.ts'
import { listen, type Listener, type ListenerOptions } from '../../src/http/listener.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { Conversation, get } from '../support/conversation.ts'
import { saidTo } from '../support/raw-client.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { streamOf } from '../support/stream-of.ts'
import { selfSignedTls } from '../support/tls-files.ts'

const chunked = 'PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n'

const unparsed: Readonly<Record<string, readonly [bytes: string, status: number]>> = {
  'a head that is too long': [get('/v2/', `x-long: ${'x'.repeat(70_000)}`), 431],
  'an unknown method': ['BREW /v2/ HTTP/1.1\r\nhost: a\r\n\r\n', 400],
  'a line that is none': ['GET\r\n\r\n', 400],
  'two lengths': [get('/v2/', 'content-length: 1', 'content-length: 2'), 400],
  'a head that does not end': ['GET /v2/ HTTP/1.1\r\nhost: a\r\nx: ', 408],
  'no host': ['GET /v2/ HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
}

for (const [what, [bytes, status]] of Object.entries(unparsed)) {
  test(`P10: ${what} is ${status} in the envelope, with the headers of every answer, and has its line`, async () => {
    const headers = { 'X-Ours': ['yes'] }
    await using app = await startAppUnderTest({
      http: { addr: '127.0.0.1:0', draintimeout: '0s', headers, limits: { headertime: '1s' } },
    })
    const said = await saidTo(app.url, bytes)
    const [head = '', body = ''] = said.split('\r\n\r\n')
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`))
    for (const line of [
      'docker-distribution-api-version: registry/2.0',
      'content-type: application/json',
      `content-length: ${body.length}`,
      'x-ours: yes',
      'connection: close',
    ]) {
      assert.match(head, new RegExp(`^${line}$`, 'im'))
    }
    assert.match(head, /^date: /im)
    const [error] = (JSON.parse(body) as { errors: Record<string, unknown>[] }).errors
    assert.equal(error?.['code'], 'UNSUPPORTED')
    const lines = app.lines.filter((line) => line['status'] !== undefined)
    assert.deepEqual(
      lines.map((line) => [line['level'], line['msg'], line['status'], line['client'], line['code'], line['bytes']]),
      [['info', 'request', status, '127.0.0.1', 'UNSUPPORTED', body.length]],
    )
  })
}

test('a head as long as behind proxies that add much to it is read', async () => {
  await using app = await startAppUnderTest({})
  const said = await saidTo(app.url, get('/v2/', `x-token: ${'x'.repeat(60_000)}`, 'connection: close'))
  assert.match(said, /^HTTP\/1\.1 200 /)
})

interface Recorded extends Listener {
  readonly lines: Record<string, unknown>[]
}

async function serve(handler: Handler, options: Partial<ListenerOptions> = {}): Promise<Recorded> {
  const { logger, lines } = recordingLogger()
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger, ...options })
  return Object.assign(listener, { lines })
}

for (const isSecure of [false, true]) {
  test(`a server that closes does not wait for who has been told why: ${isSecure ? 'TLS' : 'plain'}`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    using tls = await selfSignedTls()
    const listener = await serve(async () => ({ status: 200, headers: {} }), isSecure ? { tls } : {})
    const options = { port: listener.port, allowHalfOpen: true, rejectUnauthorized: false }
    const socket = (isSecure ? connectSecurely(options) : connect(options)).on('error', () => {})
    socket.write('garbage\r\n\r\n')
    const [said] = (await once(socket, 'data')) as [Buffer]
    assert.match(String(said), /^HTTP\/1\.1 400 /)
    assert.equal(await listener.close(600_000), 0)
    socket.destroy()
  })
}

for (const isSecure of [false, true]) {
  test(`those before it are answered first, and whole: ${isSecure ? 'TLS' : 'plain'}`, async () => {
    using tls = await selfSignedTls()
    const gate = deferred()
    async function* late(): AsyncGenerator<Uint8Array, void> {
      yield Buffer.from('one ')
      await gate.promise
      yield Buffer.from('two')
    }
    const answered: string[] = []
    await using listener = await serve(
      async ({ path }) => {
        answered.push(path)
        return { status: 200, headers: { 'content-length': 7 }, body: late() }
      },
      isSecure ? { tls } : {},
    )
    using client = new Conversation(listener)
    await client.send(`${get('/1')}${get('/2')}garbage\r\n\r\n`)
    await client.send(`more of it\r\n\r\n${get('/3')}`)
    gate.resolve()
    for (let time = 0; time < 2; time++) assert.match(await client.answer(), /^HTTP\/1\.1 200 [^]*one two$/)
    assert.match(await client.answer(), /^HTTP\/1\.1 400 [^]*connection: close/i)
    assert.equal(await client.answer(), '', 'and nothing behind it')
    assert.deepEqual(answered, ['/1', '/2'])
    assert.deepEqual(
      listener.lines.map(({ status }) => status),
      [200, 200, 400],
    )
  })
}

test('a head that is late is refused behind the answer before it, and is no request when it ends', async () => {
  const gate = deferred()
  const asked: string[] = []
  await using listener = await serve(
    async ({ path }) => {
      asked.push(path)
      await gate.promise
      return { status: 200, headers: {}, body: Buffer.from('whole') }
    },
    { headersTimeout: 50 },
  )
  const late = get('/late').slice(0, -4)
  using client = new Conversation(listener)
  await client.send(get('/first') + late)
  assert.match(await saidTo(listener.url, late), /^HTTP\/1\.1 408 /) // whoever came before is late by then, too
  await client.send('\r\n\r\n')
  gate.resolve()
  assert.match(await client.answer(), /^HTTP\/1\.1 200 [^]*whole$/)
  assert.match(await client.answer(), /^HTTP\/1\.1 408 /)
  assert.equal(await client.answer(), '')
  assert.deepEqual(asked, ['/first'])
})

test('a body that is none is refused in the place of its request, where that has no answer yet', async () => {
  await using listener = await serve(async ({ path, body }) => {
    if (path === '/') for await (const _ of body);
    return { status: 200, headers: { 'content-length': 4 }, body: streamOf(Buffer.from('done')) }
  })
  assert.match(await saidTo(listener.url, `${chunked}nonsense\r\n`), /^HTTP\/1\.1 400 [^]*connection: close/i)
  using client = new Conversation(listener)
  await client.send(`${get('/first')}${chunked}nonsense\r\n`)
  assert.match(await client.answer(), /^HTTP\/1\.1 200 [^]*done$/)
  assert.match(await client.answer(), /^HTTP\/1\.1 400 /)
})

test('nothing is written into an answer that has begun', async () => {
  const begun = deferred()
  const gate = deferred()
  async function* endless(): AsyncGenerator<Uint8Array, void> {
    yield Buffer.from('some')
    begun.resolve()
    await gate.promise
  }
  await using listener = await serve(async () => ({ status: 200, headers: { 'content-length': 10 }, body: endless() }))
  const socket = connect(listener.port, '127.0.0.1').on('error', () => {})
  let said = ''
  socket.on('data', (chunk) => (said += String(chunk)))
  const closed = once(socket, 'close')
  socket.write(chunked)
  await begun.promise
  socket.write('nonsense\r\n')
  await closed
  gate.resolve()
  assert.match(said, /^HTTP\/1\.1 200 [^]*some$/)
})

test('who leaves in the middle of his body has one line, and no answer', async () => {
  const begun = deferred()
  await using listener = await serve(async ({ body }) => {
    begun.resolve()
    for await (const _ of body);
    return { status: 201, headers: {} }
  })
  const socket = connect(listener.port, '127.0.0.1')
  socket.write('PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nsome')
  await begun.promise
  socket.end()
  await once(socket.resume(), 'close')
  await listener.close(1000)
  assert.deepEqual(
    listener.lines.map(({ msg, status }) => [msg, status]),
    [['request aborted', 499]],
  )
})

test('who sends on is read from until he has seen why, and not for ever', async () => {
  await using listener = await serve(async () => ({ status: 200, headers: {} }))
  const socket = connect(listener.port, '127.0.0.1').on('error', () => {})
  let said = ''
  socket.on('data', (chunk) => (said += String(chunk)))
  socket.write('garbage\r\n\r\n')
  const more = (): void => {
    while (!socket.destroyed && socket.write(Buffer.alloc(1024 * 1024)));
  }
  socket.on('drain', more)
  more()
  await new Promise((resolve) => socket.once('close', resolve))
  assert.match(said, /^HTTP\/1\.1 400 /)
  assert.equal(listener.lines.length, 1)
})

test('what is no TLS is answered nothing', async () => {
  using tls = await selfSignedTls()
  await using listener = await serve(async () => ({ status: 200, headers: {} }), { tls })
  const said = await saidTo(listener.url.replace('https', 'http'), get('/'))
  assert.doesNotMatch(said, /HTTP/)
  const client = connectSecurely({ port: listener.port, rejectUnauthorized: false })
  client.write(get('/', 'connection: close'))
  const [first] = (await once(client, 'data')) as [Buffer]
  assert.match(String(first), /^HTTP\/1\.1 200 /)
  client.destroy()
})

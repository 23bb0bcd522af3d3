// Requests that come on one connection before those before them are answered.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { listen } from '../../src/http/listener.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { saidTo } from '../support/raw-client.ts'
import { streamOf } from '../support/stream-of.ts'

const place = { host: '127.0.0.1', port: 0 }

function get(path: string, last = false): string {
  return `GET ${path} HTTP/1.1\r\nhost: a\r\n${last ? 'connection: close\r\n' : ''}\r\n`
}

test('P7: a request begins when those before it on its connection are through, each with what these have changed', async () => {
  const { logger } = recordingLogger()
  let running = 0
  let most = 0
  let value = 'first'
  await using listener = await listen(
    async ({ method, body }) => {
      most = Math.max(most, ++running)
      let sent = ''
      for await (const bytes of body) sent += String(Buffer.from(bytes))
      if (method === 'PUT') value = sent
      const bytes = Buffer.from(`${method} ${value};`)
      running -= 1
      return { status: 200, headers: { 'content-length': bytes.byteLength }, body: streamOf(bytes) }
    },
    { ...place, logger },
  )
  const put = 'PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nsecond'
  const said = await saidTo(listener.url, get('/').repeat(3) + put + get('/').repeat(2) + get('/', true))
  const bodies = said.match(/(?:GET|PUT) \w+;/g)
  const [before, after] = ['GET first;', 'GET second;']
  assert.deepEqual(bodies, [before, before, before, 'PUT second;', after, after, after])
  assert.equal(most, 1)
})

test('P7: a connection on which too many requests wait is cut, and who else is there is answered', async () => {
  const { logger } = recordingLogger()
  const gate = deferred()
  let begun = 0
  await using listener = await listen(
    async ({ path }) => {
      if (path === '/other') return { status: 204, headers: {} }
      begun += 1
      await gate.promise
      return { status: 204, headers: {} }
    },
    { ...place, logger },
  )
  assert.equal(await saidTo(listener.url, get('/').repeat(2000)), '')
  assert.equal(begun, 1)
  assert.match(await saidTo(listener.url, get('/other', true)), /^HTTP\/1.1 204 /)
  const patient = saidTo(listener.url, get('/').repeat(500) + get('/', true))
  gate.resolve()
  assert.equal((await patient).match(/HTTP\/1.1 204 /g)?.length, 501)
})

for (const [what, request] of [
  ['heads', get('/').replace('\r\n\r\n', `\r\nx-long: ${'x'.repeat(60_000)}\r\n\r\n`)],
  ['bodies', `PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n${'x'.repeat(60_000)}`],
] as const) {
  test(`P7: a connection on which requests with long ${what} wait is cut before they fill memory`, async () => {
    const { logger } = recordingLogger()
    const gate = deferred()
    await using listener = await listen(
      async ({ body }) => {
        for await (const _ of body);
        await gate.promise
        return { status: 204, headers: {} }
      },
      { ...place, logger },
    )
    assert.equal(await saidTo(listener.url, get('/') + request.repeat(500)), '')
    const patient = saidTo(listener.url, get('/') + request.repeat(20) + get('/', true))
    gate.resolve()
    assert.equal((await patient).match(/HTTP\/1.1 204 /g)?.length, 22)
  })
}

test('P1: what was answered when closing began is got whole, however late its client takes it', async () => {
  const { logger, lines } = recordingLogger()
  const body = Buffer.alloc(64 * 1024, 'x')
  const listener = await listen(() => ({ status: 200, headers: { 'content-length': body.byteLength }, body }), {
    ...place,
    logger,
  })
  const socket = connect(listener.port, place.host)
  await once(socket, 'connect')
  socket.write(get('/').repeat(300))
  // What the system does not take any more waits here, and then no more is answered.
  for (let last = -1; last < lines.length || lines.length === 0;) {
    last = lines.length
    for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate)
  }
  const answered = lines.length
  const closed = listener.close(10_000)
  let got = 0
  socket.on('data', (bytes) => (got += bytes.byteLength))
  await once(socket, 'close')
  await closed
  assert.ok(got >= answered * body.byteLength, `${answered} answers, ${got} bytes`)
})

test(
  'P7: clients that take nothing are cut when the drain time is over, all at once',
  { timeout: 20_000 },
  async () => {
    const { logger } = recordingLogger()
    async function* endless(): AsyncGenerator<Uint8Array, void> {
      for (;;) yield Buffer.alloc(256 * 1024)
    }
    const listener = await listen(() => ({ status: 200, headers: {}, body: endless() }), { ...place, logger })
    const sockets = Array.from({ length: 5 }, () => connect(listener.port, place.host).on('error', () => {}))
    const heads = sockets.map(async (socket) => {
      socket.write(get('/'))
      await once(socket, 'readable')
    })
    await Promise.all(heads)
    assert.equal(await listener.close(100), 5)
    for (const socket of sockets) socket.destroy()
  },
)

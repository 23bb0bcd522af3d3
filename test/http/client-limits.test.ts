// How much one client gets.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { ClientLimits } from '../../src/http/client-limits.ts'
import { listen } from '../../src/http/listener.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask, open } from '../support/client.ts'
import { recordingLogger } from '../support/recording-logger.ts'

test('so many requests of a client run at once, and others are not counted with them', () => {
  const limits = new ClientLimits({ requests: 2, rate: 0 })
  assert.deepEqual([limits.enter('a'), limits.enter('a'), limits.enter('a')], [undefined, undefined, 1])
  assert.equal(limits.enter('b'), undefined)
  limits.leave('a')
  assert.deepEqual([limits.enter('a'), limits.enter('a')], [undefined, 1])
})

test('so many requests of a client come in a second, all at once or one after the other', () => {
  let now = 1000
  const limits = new ClientLimits({ requests: 0, rate: 4, clock: () => now })
  const enter = (): number | undefined => limits.enter('a')
  assert.deepEqual(Array.from({ length: 5 }, enter), [undefined, undefined, undefined, undefined, 1])
  now += 250
  assert.deepEqual([enter(), enter()], [undefined, 1])
  now += 10_000
  assert.deepEqual(Array.from({ length: 5 }, enter), [undefined, undefined, undefined, undefined, 1])
  for (let step = 0; step < 100; step += 1) {
    now += 250
    assert.deepEqual([enter(), enter()], [undefined, 1], `step ${step}`)
  }
})

test('P7: nobody is forgotten within a second for the many who come after him', () => {
  const limits = new ClientLimits({ requests: 0, rate: 1, clock: () => 1000 })
  assert.deepEqual([limits.enter('a'), limits.enter('a')], [undefined, 1])
  for (let other = 0; other < 8192; other += 1) limits.enter(`client ${other}`)
  assert.equal(limits.enter('a'), 1)
})

test('P7: a client is its IPv6 network, and a million of clients are forgotten again', () => {
  const limits = new ClientLimits({ requests: 1, rate: 0 })
  assert.equal(limits.enter('2001:db8:0:1::1'), undefined)
  assert.equal(limits.enter('2001:db8::1:2:3:4:5'), 1)
  assert.equal(limits.enter('2001:db8:0:2::1'), undefined)
  limits.leave('2001:db8:0:1:ffff::')
  assert.equal(limits.enter('2001:db8:0:1::2'), undefined)
  assert.equal(limits.enter('fe80::1%eth0'), undefined)
  assert.equal(limits.enter('::1'), undefined)
  const many = new ClientLimits({ requests: 0, rate: 1, clock: () => 0 })
  let refused = 0
  for (let client = 0; client < 1_000_000; client += 1) if (many.enter(String(client)) !== undefined) refused += 1
  assert.equal(refused, 0)
  assert.equal(many.enter('999999'), 1)
  assert.equal(many.enter('0'), undefined, 'forgotten')
})

test('P10: a client that asks too much hears 429 and when to come again, until its answers are through', async () => {
  await using app = await startAppUnderTest({
    http: { addr: '127.0.0.1:0', draintimeout: '0s', limits: { requests: 1 }, trustedproxies: ['127.0.0.1'] },
  })
  const url = `${app.url}/v2/local/app/blobs/uploads/`
  const { headers } = await ask(url, { method: 'POST' })
  const { hostname, port } = new URL(app.url)
  const slow = connect(Number(port), hostname)
  const path = new URL(headers.location ?? '', app.url)
  slow.write(
    `PATCH ${path.pathname}${path.search} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n`,
  )
  await once(slow, 'data') // it has been told to go on, so it runs
  const refused = await ask(`${app.url}/v2/`)
  assert.deepEqual([refused.status, refused.codes], [429, ['TOOMANYREQUESTS']])
  assert.equal(refused.headers['retry-after'], '1')
  assert.equal(refused.headers['x-content-type-options'], 'nosniff')
  await app.until(({ msg, status, code }) => msg === 'request' && status === 429 && code === 'TOOMANYREQUESTS')
  const other = await ask(`${app.url}/v2/`, { headers: { 'x-forwarded-for': '192.0.2.1' } })
  assert.equal(other.status, 200)
  slow.write('four')
  await once(slow, 'data')
  slow.destroy()
  await app.until(({ msg, method }) => msg === 'request' && method === 'PATCH')
  assert.equal((await ask(`${app.url}/v2/`)).status, 200)
})

test('T-98, P7: connections beyond the limit are closed, idle ones make room, and it is said once', async () => {
  const { logger, lines } = recordingLogger()
  await using listener = await listen(async () => ({ status: 200, headers: {} }), {
    host: '127.0.0.1',
    port: 0,
    connections: 3,
    logger,
  })
  const idle: Socket[] = []
  for (let nth = 0; nth < 3; nth += 1) {
    const socket = connect(listener.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    await once(socket, 'data')
    idle.push(socket)
  }
  const closed = Promise.all(idle.map(async (socket) => await once(socket, 'close')))
  await assert.rejects(ask(listener.url))
  await closed
  assert.equal((await ask(listener.url)).status, 200)
  assert.equal(lines.filter(({ level }) => level === 'warn').length, 1)
})

test('T-98, P7: connections that work are left alone by those beyond the limit', async () => {
  const gate = deferred()
  const started = deferred()
  let asked = 0
  const { logger, lines } = recordingLogger()
  await using listener = await listen(
    async () => {
      asked += 1
      if (asked === 2) started.resolve()
      await gate.promise
      return { status: 200, headers: {} }
    },
    { host: '127.0.0.1', port: 0, connections: 2, logger },
  )
  const running = [open(listener.url), open(listener.url)]
  await started.promise
  const isFull = async (): Promise<boolean> => await once(connect(listener.port, '127.0.0.1'), 'close').then(() => true)
  for (let nth = 0; nth < 20; nth += 1) assert.ok(await isFull())
  gate.resolve()
  for (const response of running) assert.equal((await response).resume().statusCode, 200)
  assert.equal(lines.filter(({ level }) => level === 'warn').length, 1)
})

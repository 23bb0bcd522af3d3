import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { deferred, type Deferred } from '../../src/async/deferred.ts'
import type { Handler, Reply, Request } from '../../src/http/exchange.ts'
import { listen, type Listener, type ListenerOptions } from '../../src/http/listener.ts'
import { Conversation, get } from '../support/conversation.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { property, type Random } from '../support/seeded.ts'
import { selfSignedTls } from '../support/tls-files.ts'

function withoutDate(answer: string): string {
  return answer.replace(/^date: .*\r\n/im, '')
}

interface Server extends Listener {
  /** Paths that the handler was asked for. */
  readonly asked: string[]
  readonly lines: Record<string, unknown>[]
  isFresh: boolean
  readonly gate: Deferred<void>
}

const large = Buffer.alloc(64 * 1024, 'large ')

/** What begins with `/hot` holds as long as `isFresh`; `/cold` is answered a little later, `/gated` behind the gate, all else at once. */
async function serve(more: Partial<ListenerOptions> = {}, reply: Partial<Reply> = {}): Promise<Server> {
  const { logger, lines } = recordingLogger()
  const asked: string[] = []
  const state = { asked, lines, isFresh: true, gate: deferred() }
  const handler: Handler = (request) => {
    asked.push(request.path)
    const body = request.path === '/hot/large' ? large : Buffer.from(`this is ${request.path}`)
    const headers = { 'content-length': body.byteLength, 'x-path': request.path }
    const plain = { status: 200, headers, body }
    if (request.path.startsWith('/cold')) return new Promise((resolve) => setImmediate(() => resolve(plain)))
    if (request.path.startsWith('/gated')) return state.gate.promise.then(() => plain)
    if (request.path.startsWith('/body')) return answerWithBody(request)
    if (!request.path.startsWith('/hot')) return plain
    request.log['reference'] = request.path
    return { ...plain, holds: () => state.isFresh, ...reply }
  }
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger, ...more })
  return Object.assign(state, {
    port: listener.port,
    url: listener.url,
    close: async (time: number) => await listener.close(time),
    [Symbol.asyncDispose]: async () => await listener[Symbol.asyncDispose](),
  })
}

async function answerWithBody({ body }: Request): Promise<Reply> {
  let size = 0
  for await (const chunk of body) size += chunk.byteLength
  return { status: 200, headers: {}, body: Buffer.from(`read ${size}`) }
}

test('a request that comes again byte for byte is answered with the same bytes, unasked, as long as they hold', async () => {
  await using server = await serve()
  for (const path of ['/hot', '/hot/large']) {
    using client = new Conversation(server)
    const first = await client.ask(get(path))
    assert.match(first, /^HTTP\/1\.1 200 OK\r\n/)
    for (let time = 0; time < 4; time++) assert.equal(withoutDate(await client.ask(get(path))), withoutDate(first))
    assert.deepEqual(server.asked.splice(0), [path, path], 'Node’s parser has seen the first two')
    server.isFresh = false
    assert.equal(withoutDate(await client.ask(get(path))), withoutDate(first))
    assert.deepEqual(server.asked.splice(0), [path])
    server.isFresh = true
  }
})

test('with TLS it is so, too', async () => {
  using tls = await selfSignedTls()
  await using server = await serve({ tls })
  for (const path of ['/hot', '/hot/large']) {
    using client = new Conversation(server)
    const first = withoutDate(await client.ask(get(path)))
    for (let time = 0; time < 4; time++) assert.equal(withoutDate(await client.ask(get(path))), first)
    assert.deepEqual(server.asked.splice(0), [path, path])
  }
})

test('what one connection has taught is known on all', async () => {
  await using server = await serve()
  using one = new Conversation(server)
  using other = new Conversation(server)
  const answer = withoutDate(await one.ask(get('/hot', 'x-a: 1')))
  await other.ask(get('/hot/other'))
  await other.ask(get('/hot/other'))
  server.asked.length = 0
  assert.equal(withoutDate(await other.ask(get('/hot', 'x-a: 1'))), answer)
  assert.deepEqual(server.asked, [])
  await other.ask(get('/hot', 'x-a: 2'))
  assert.deepEqual(server.asked, ['/hot'], 'these bytes are not the same')
})

test('its head is the one that Node writes', async () => {
  const headers = { 'x-one': 1, 'X-Two': ['a', 'b'], 'x-latin': 'caf\xe9' }
  for (const keepAliveTimeout of [75_000, 1999, 0]) {
    await using server = await serve({ keepAliveTimeout }, { headers, body: Buffer.from('x') })
    using client = new Conversation(server)
    const answers: string[] = []
    for (let time = 0; time < 3; time++) answers.push(withoutDate(await client.ask(get('/hot'))))
    assert.deepEqual(server.asked, ['/hot', '/hot'])
    assert.deepEqual(answers, [answers[0], answers[0], answers[0]])
    assert.match(answers[0] ?? '', /X-Two: a\r\nX-Two: b\r\nx-latin: caf\xe9\r\n/)
  }
})

test('an answer that says itself what Node says otherwise is left to Node', async () => {
  for (const headers of [
    { Date: 'Thu, 01 Jan 1970 00:00:00 GMT' },
    { connection: 'keep-alive' },
    { 'keep-alive': 'timeout=9' },
  ]) {
    await using server = await serve({}, { headers: { 'content-length': 1, ...headers }, body: Buffer.from('x') })
    using client = new Conversation(server)
    const answers: string[] = []
    for (let time = 0; time < 3; time++) answers.push(withoutDate(await client.ask(get('/hot'))))
    assert.deepEqual(answers, [answers[0], answers[0], answers[0]], JSON.stringify(headers))
    assert.equal(server.asked.length, 3)
  }
})

test('each has its line in the log, with all that the first one said', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  for (let time = 0; time < 4; time++) await client.ask(get('/hot'))
  const lines = server.lines.map(({ time, ms, ...line }) => {
    assert.equal(typeof time, 'string')
    assert.equal(typeof ms, 'number')
    return line
  })
  const line = {
    level: 'info',
    method: 'GET',
    reference: '/hot',
    status: 200,
    bytes: 12,
    client: '127.0.0.1',
    msg: 'request',
  }
  assert.deepEqual(lines, [line, line, line, line])
})

test('bytes in the middle of a message are never a request, whatever they look like', async () => {
  await using server = await serve()
  using teacher = new Conversation(server)
  for (let time = 0; time < 3; time++) await teacher.ask(get('/hot'))
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot'))

  const length = get('/hot').length
  await client.send(`POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`)
  assert.match(await client.ask(get('/hot')), /read \d+$/)

  await client.send('POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n')
  await client.send(`${length.toString(16)}\r\n`)
  await client.send(get('/hot'))
  assert.match(await client.ask('\r\n0\r\n\r\n'), new RegExp(`read ${length}$`))

  assert.match(await client.ask(get('/plain', `content-length: ${length}`)), /this is \/plain$/)
  await client.send(get('/hot'))
  assert.match(await client.ask(get('/plain/2')), /this is \/plain\/2$/, 'it has read a body in between')

  for (const before of ['', get('/hot')]) {
    await client.ask(get('/hot'))
    if (before === '') await client.send('GET /plain HTTP/1.1\r\nx-a: ')
    else assert.match(await client.ask(`${before}GET /plain HTTP/1.1\r\nx-a: `), /this is \/hot$/)
    assert.match(await client.ask(get('/hot')), /this is \/plain$/)
    assert.match(await client.ask(get('/hot')), /this is \/hot$/, 'and nothing else was learnt from them')
  }
})

test('nothing overtakes an answer that is not here yet', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot'))
  await client.send(get('/cold') + get('/hot'))
  assert.match(await client.answer(), /this is \/cold$/)
  assert.match(await client.answer(), /this is \/hot$/)
  await client.send(get('/gated'))
  await client.send(get('/hot'))
  server.gate.resolve()
  assert.match(await client.answer(), /this is \/gated$/)
  assert.match(await client.answer(), /this is \/hot$/)
})

test('an answer that leaves when the next message has begun does not end that', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot'))
  await client.send(get('/gated'))
  await client.send('GET /plain HTTP/1.1\r\nx-a: ')
  server.gate.resolve()
  assert.match(await client.answer(), /this is \/gated$/)
  assert.match(await client.ask(get('/hot')), /this is \/plain$/)
})

test('a connection that Node has paused, for all that is to be sent on it, goes on', async () => {
  await using server = await serve({ keepAliveTimeout: 1000 }) // or it would wait for longer than a test may
  using client = new Conversation(server)
  const times = 40
  await client.send(get('/hot/large').repeat(times))
  await client.send(get('/last'))
  for (let time = 0; time < times; time++) assert.ok((await client.answer()).endsWith(large.toString()))
  assert.match(await client.answer(), /this is \/last$/)
})

test('what says more than a plain GET is parsed each time', async () => {
  await using server = await serve()
  const texts = [
    get('/hot', 'content-length: 0'),
    get('/hot', 'expect: 100-continue'),
    get('/hot', 'connection: upgrade', 'upgrade: h2c'),
    get('/hot').replace('GET', 'POST'),
    get('/hot', `x-long: ${'x'.repeat(4096)}`),
    'GET /hot HTTP/1.1\r\nhost:a\r\n\r\n',
    'GET /hot HTTP/1.1\r\nhost: a \r\n\r\n',
    `\r\n${get('/hot')}`,
  ]
  for (const text of texts) {
    using client = new Conversation(server)
    server.asked.length = 0
    for (let time = 0; time < 4; time++) {
      let answer = await client.ask(text)
      if (answer.startsWith('HTTP/1.1 100')) answer = await client.answer()
      assert.match(answer, /this is \/hot$/)
    }
    assert.equal(server.asked.length, 4, text)
  }
  for (const text of [get('/hot', 'connection: close'), 'GET /hot HTTP/1.0\r\nhost: a\r\n\r\n']) {
    for (let time = 0; time < 2; time++) {
      using client = new Conversation(server)
      assert.match(await client.ask(text), /connection: close\r\n[^]*this is \/hot$/i)
      assert.equal(await client.answer(), '')
    }
  }
})

test('where somebody is to be told of each request, each is parsed', async () => {
  const told: string[] = []
  const observer = { begin: (): void => {}, end: ({ path }: Request): number => told.push(path) }
  await using server = await serve({ observer })
  using client = new Conversation(server)
  for (let time = 0; time < 4; time++) await client.ask(get('/hot'))
  assert.deepEqual(told, ['/hot', '/hot', '/hot', '/hot'])
})

test('a server that closes tells so those, too, whose requests come again', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot'))
  using slow = new Conversation(server)
  await slow.send(get('/body').replace('GET', 'POST').replace('host: a', 'host: a\r\ncontent-length: 1'))
  const closed = server.close(10_000)
  assert.equal(await client.answer(), '', 'an idle connection is closed')
  assert.match(await slow.ask('x'), /connection: close\r\n[^]*read 1$/i)
  assert.equal(await closed, 0)
})

/** The server's side of the next connection. */
async function nextSocket(): Promise<Socket> {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  const take = (message: unknown): void => {
    if (typeof message === 'object' && message !== null && 'socket' in message && message.socket instanceof Socket)
      resolve(message.socket)
  }
  subscribe('net.server.socket', take)
  try {
    return await promise
  } finally {
    unsubscribe('net.server.socket', take)
  }
}

test('what comes on a connection that is closed, or may not be written to any more, is not answered', async () => {
  await using server = await serve()
  for (const close of ['destroy', 'end'] as const) {
    const taken = nextSocket()
    using client = new Conversation(server)
    for (let time = 0; time < 3; time++) await client.ask(get('/hot'))
    const socket = await taken
    const errors: Error[] = []
    socket.on('error', (error: Error) => errors.push(error))
    socket.pause()
    await client.send(get('/hot'))
    while (socket.readableLength === 0) await new Promise((resolve) => setImmediate(resolve))
    server.asked.length = server.lines.length = 0
    socket.prependOnceListener('data', () => socket[close]()) // as what comes before it does
    socket.resume()
    assert.equal(await client.answer(), '')
    assert.deepEqual(errors, [])
    if (close === 'destroy') assert.deepEqual([server.asked, server.lines], [[], []])
  }
})

test('an answer that its client takes slowly has the time that any other has', async () => {
  await using server = await serve({ keepAliveTimeout: 1, idleTimeout: 20_000 })
  const taken = nextSocket()
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot/large'))
  const socket = await taken
  server.asked.length = 0
  client.pause()
  while (socket.writableLength === 0) await client.send(get('/hot/large'))
  assert.deepEqual(server.asked, [])
  assert.equal(socket.timeout, 20_000)
})

test('a connection on which requests come again is closed when none comes any more', async () => {
  await using server = await serve({ keepAliveTimeout: 1 })
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot'))
  assert.equal(await client.answer(), '') // Node grants a second more
})

test('P1: a body that reads like a request that is known is none, also where its own request has had to wait', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  for (let time = 0; time < 3; time++) await client.ask(get('/hot'))
  const body = get('/hot')
  await client.send(`${get('/gated')}POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`)
  while (server.asked.at(-1) !== '/gated') await new Promise(setImmediate)
  server.gate.resolve()
  assert.match(await client.answer(), /this is \/gated$/)
  assert.match(await client.ask(body), new RegExp(`read ${body.length}$`))
})

test('P1: nor is one whose client has waited to be told that it may send it', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  const body = get('/hot')
  const head = `POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\nexpect: 100-continue\r\n\r\n`
  for (let time = 0; time < 3; time++) {
    for (let again = 0; again < 3; again++) assert.match(await client.ask(get('/hot')), /this is \/hot$/)
    assert.equal(await client.ask(head), 'HTTP/1.1 100 Continue\r\n\r\n')
    assert.match(await client.ask(body), new RegExp(`read ${body.length}$`))
  }
})

/** Some requests as one text, and how their answers end. */
function conversation(random: Random): { readonly text: string; readonly ends: readonly string[] } {
  const requests = Array.from({ length: 2 + random.int(8) }, () => {
    const path = random.pick(['/hot', '/hot', '/hot', '/hot/other', '/plain', '/cold'])
    if (!random.oneIn(4)) return { text: get(path), end: `this is ${path}` }
    const body = random.pick([get('/hot'), get('/hot/other').slice(0, -2), '\r\n\r\n', 'GET '])
    const text = `POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    return { text, end: `read ${body.length}` }
  })
  return { text: requests.map(({ text }) => text).join(''), ends: requests.map(({ end }) => end) }
}

const counted = { requests: 0, parsed: 0 }

property(
  'P1: however requests are cut into pieces and put together, each gets its own answer',
  async (random) => {
    await using server = await serve()
    using client = new Conversation(server)
    const known = random.pick(['/hot', '/hot/other'])
    for (let time = 0; time < 3; time++) await client.ask(get(known))
    server.asked.length = 0
    const { text, ends } = conversation(random)
    for (let at = 0; at < text.length;) {
      const whole = text.indexOf('\r\n\r\n', at) + 4
      const end = random.oneIn(3) || whole < 4 ? at + 1 + random.int(60) : whole
      await client.send(text.slice(at, end))
      at = end
    }
    for (const [nth, end] of ends.entries()) {
      const answer = await client.answer()
      assert.ok(answer.endsWith(end), `answer ${nth} to ${JSON.stringify(text)}: ${answer}`)
    }
    counted.requests += ends.length
    counted.parsed += server.asked.length
  },
  200,
)

test('those cases had both: requests that were parsed, and requests that were not', () => {
  const { requests, parsed } = counted
  assert.ok(parsed > requests / 4 && parsed < requests * 0.95, `${parsed} of ${requests}`)
})

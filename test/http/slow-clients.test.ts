// T-96: clients that hold a connection and do nothing with it are cut, and cost nobody else anything.
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { streamOf } from '../support/stream-of.ts'
import { pacedBody } from '../../src/http/paced-body.ts'
import { listen, type Listener } from '../../src/http/listener.ts'
import { ask } from '../support/client.ts'
import { recordingLogger } from '../support/recording-logger.ts'

/** How many clients of each kind. */
const many = 50

const patience = 500

async function serve(
  period = patience,
): Promise<Listener & { readonly lines: Record<string, unknown>[]; readonly released: () => number }> {
  const { logger, lines } = recordingLogger()
  let released = 0
  async function* endless(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) yield Buffer.alloc(256 * 1024)
    } finally {
      released++
    }
  }
  const listener = await listen(
    async ({ path, method, body }) => {
      if (path === '/large') return { status: 200, headers: {}, body: endless() }
      if (method === 'PUT') for await (const _ of body);
      return { status: 200, headers: { 'content-length': 5 }, body: streamOf(Buffer.from('small')) }
    },
    { host: '127.0.0.1', port: 0, logger, idleTimeout: period, headersTimeout: period },
  )
  return Object.assign(listener, { lines, released: () => released })
}

interface SlowClient {
  readonly socket: Socket
  readonly cut: Promise<void>
  readonly answer: () => string
}

function slowClient({ port }: Listener, sent: string, { reads = true } = {}): SlowClient {
  const socket = connect(port, '127.0.0.1')
  const cut = deferred()
  let answer = ''
  socket.on('close', () => cut.resolve())
  socket.on('error', () => {}) // that is how it is cut
  if (reads) socket.on('data', (bytes) => (answer += String(bytes)))
  socket.write(sent)
  return { socket, cut: cut.promise, answer: () => answer }
}

const slow: Readonly<Record<string, string>> = {
  'say nothing': '',
  'never end their headers': 'GET / HTTP/1.1\r\nhost: a\r\nx: ',
  'stop in the middle of a body': 'PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome',
  'stop in the middle of a chunked body':
    'PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n',
}

for (const [what, sent] of Object.entries(slow)) {
  test(`T-96, P7: ${many} clients that ${what} are cut, and others are served meanwhile`, async () => {
    await using listener = await serve()
    const clients = Array.from({ length: many }, () => slowClient(listener, sent))
    assert.equal((await ask(listener.url)).body.toString(), 'small')
    await Promise.all(clients.map(async ({ cut }) => await cut))
    for (const { answer } of clients) assert.match(answer(), /^(?:HTTP\/1.1 408 |$)/)
    assert.equal((await ask(listener.url)).body.toString(), 'small')
  })
}

test('T-96, P7: headers that drip are cut when their time is over, though the connection is never idle', async () => {
  await using listener = await serve()
  const { socket, cut, answer } = slowClient(listener, 'GET / HTTP/1.1\r\nhost: a\r\n')
  const drip = setInterval(() => socket.write('x: y\r\n'), patience / 20)
  await cut
  clearInterval(drip)
  assert.match(answer(), /^HTTP\/1.1 408 /)
})

test(`T-96, P7: ${many} clients that stop reading are cut, what they held is released, and others are served`, async () => {
  await using listener = await serve()
  const clients = Array.from({ length: many }, () => {
    return slowClient(listener, 'GET /large HTTP/1.1\r\nhost: a\r\n\r\n', { reads: false })
  })
  for (const { socket } of clients) socket.pause()
  assert.equal((await ask(listener.url)).body.toString(), 'small')
  while (listener.released() < many) await new Promise(setImmediate)
  for (const { socket } of clients) socket.destroy()
  await Promise.all(clients.map(async ({ cut }) => await cut))
  assert.equal((await ask(listener.url)).body.toString(), 'small')
  assert.equal(listener.lines.filter(({ aborted }) => aborted === true).length, many)
})

test('T-96, P7: a body that drips is cut, though its connection is never idle; a slow one is not', async () => {
  await using listener = await serve(3 * patience)
  const head = 'PUT / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 60000\r\n\r\n'
  const dripping = slowClient(listener, head)
  const slowly = slowClient(listener, head)
  const drip = setInterval(() => {
    dripping.socket.write('x')
    if (slowly.socket.bytesWritten < head.length + 60_000) slowly.socket.write('x'.repeat(2000))
  }, patience / 20)
  await Promise.all([dripping.cut, slowly.cut])
  clearInterval(drip)
  assert.equal(dripping.answer(), '')
  assert.match(slowly.answer(), /^HTTP\/1.1 200 /)
  const messages = listener.lines.map(({ msg }) => String(msg))
  assert.deepEqual(messages.toSorted(), ['request', 'request aborted'])
})

test('T-96, P7: a body that begins fast and drips then is cut all the same, and is let go of', async (context) => {
  let now = 0
  context.mock.method(performance, 'now', () => now)
  let isReleased = false
  async function* body(): AsyncGenerator<Uint8Array, void> {
    try {
      for (const size of [60_000, 1, 1, 1]) {
        now += 60
        yield Buffer.alloc(size)
      }
    } finally {
      isReleased = true
    }
  }
  const cut = async (): Promise<never> => await Promise.reject(new Error('too slow'))
  let received = 0
  await assert.rejects(async () => {
    for await (const chunk of pacedBody(body(), { period: 100, cut })) received += chunk.byteLength
  }, /too slow/)
  assert.deepEqual([received, isReleased], [60_002, true])
})

test('a client that waits for us is not cut, though nothing moves; nor does it wait for ever', async () => {
  const answers = [deferred(), deferred()]
  async function* late(): AsyncGenerator<Uint8Array, void> {
    yield Buffer.from('one ')
    await answers[1]?.promise
    yield Buffer.from('two')
  }
  const { logger } = recordingLogger()
  await using listener = await listen(
    async ({ path, body }) => {
      if (path === '/never') return await new Promise(() => {})
      for await (const _ of body);
      await answers[0]?.promise
      return { status: 200, headers: { 'content-length': 7 }, body: late() }
    },
    { host: '127.0.0.1', port: 0, logger, idleTimeout: 50 },
  )
  const waiting = slowClient(
    listener,
    'PUT / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nsome',
  )
  for (const answer of answers) {
    await slowClient(listener, 'PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nso').cut // by then we are late, too
    answer.resolve()
  }
  await waiting.cut
  assert.match(waiting.answer(), /^HTTP\/1.1 200 [^]*one two$/)
  const hopeless = slowClient(listener, 'GET /never HTTP/1.1\r\nhost: a\r\n\r\n')
  await hopeless.cut
  assert.equal(hopeless.answer(), '')
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectSecurely, TLSSocket } from 'node:tls'
import { deferred } from '../../src/async/deferred.ts'
import { type ByteStream } from '../../src/bytes/stream.ts'
import { streamOf } from '../support/stream-of.ts'
import type { Handler } from '../../src/http/exchange.ts'
import { listen, type Listener } from '../../src/http/listener.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'
import { selfSignedTls } from '../support/tls-files.ts'

const local = { host: '127.0.0.1', port: 0, logger: silentLogger }

async function serve(handler: Handler): Promise<Listener & Pick<Recording, 'lines' | 'until'>> {
  const { logger, lines, until } = recordingLogger()
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger })
  return Object.assign(listener, { lines, until })
}

async function request(listener: Listener, text: string): Promise<string> {
  const socket = connect(listener.port, '127.0.0.1')
  socket.end(text)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

test('a handler sees the path as it was sent, undecoded', async () => {
  const seen: string[] = []
  await using listener = await serve(async ({ path, query }) => {
    seen.push(path, query.get('ns') ?? '')
    return { status: 200, headers: {} }
  })
  await request(listener, 'GET /v2/a/%2e%2e//b?ns=x%2Fy HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  assert.deepEqual(seen, ['/v2/a/%2e%2e//b', 'x/y'])
})

test('a target with scheme and host means its path, and its host counts instead of the header', async () => {
  const seen: unknown[] = []
  await using listener = await serve(async ({ target, path, query, host }) => {
    seen.push([target, path, query.get('n'), host])
    return { status: 200, headers: {} }
  })
  const targets = ['http://b.test:5000/v2/a?n=1', 'HTTPS://b.test', 'http://b.test?n=2', '*', 'ftp://b.test/v2/']
  for (const target of targets) {
    await request(listener, `GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
  }
  assert.deepEqual(seen, [
    ['/v2/a?n=1', '/v2/a', '1', 'b.test:5000'],
    ['/', '/', null, 'b.test'],
    ['/?n=2', '/', '2', 'b.test'],
    ['*', '*', null, 'a'],
    ['ftp://b.test/v2/', 'ftp://b.test/v2/', null, 'a'],
  ])
})

test('a handler hears who is at the other end, by its own address', async () => {
  const { logger } = recordingLogger()
  const hosts = ['127.0.0.1', ...(networkInterfaces()['lo']?.some(({ family }) => family === 'IPv6') ? ['::'] : [])]
  for (const host of hosts) {
    let peer = ''
    const handler: Handler = async (asked) => {
      peer = asked.peer
      return { status: 200, headers: {} }
    }
    await using listener = await listen(handler, { host, port: 0, logger })
    const ask = async (address: string): Promise<string> => {
      const socket = connect(listener.port, address)
      await once(socket, 'connect')
      const port = String(socket.localPort)
      socket.end('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
      for await (const _ of socket);
      return peer.replace(`:${port}`, ':port')
    }
    assert.equal(await ask('127.0.0.1'), '127.0.0.1:port', host)
    if (host === '::') assert.equal(await ask('::1'), '[::1]:port')
  }
})

test('T-75: a request that names two hosts, or none, is refused, and what follows it is heard', async () => {
  const { logger, lines } = recordingLogger()
  const seen: string[] = []
  const handler: Handler = async ({ path }) => {
    seen.push(path)
    return { status: 200, headers: {} }
  }
  await using listener = await listen(handler, { host: '127.0.0.1', port: 0, logger })
  const next = 'GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
  for (const hosts of ['host: a\r\nhost: b\r\n', 'Host: a\r\nHOST: a\r\n', '']) {
    assert.match(
      await request(listener, `GET / HTTP/1.1\r\n${hosts}\r\n${next}`),
      /^HTTP\/1\.1 400 [^]*HTTP\/1\.1 200 /,
    )
  }
  assert.match(await request(listener, 'GET /old HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /)
  assert.deepEqual(seen, ['/next', '/next', '/next', '/old'])
  assert.equal(lines.filter(({ status }) => status === 400).length, 3)
})

test('one line is logged per request, with the fields that the handler added', async () => {
  await using listener = await serve(async ({ log }) => {
    log['repository'] = 'a/b'
    return { status: 200, headers: {}, body: Buffer.from('four') }
  })
  await (await fetch(`${listener.url}/x`)).text()
  assert.equal(listener.lines.length, 1)
  const [line] = listener.lines
  assert.equal(line?.['repository'], 'a/b')
  assert.equal(line?.['status'], 200)
  assert.equal(line?.['bytes'], 4)
  assert.equal(line?.['method'], 'GET')
  assert.equal(typeof line?.['ms'], 'number')
})

test('a handler that throws is answered 500 without a word of the error', async () => {
  await using listener = await serve(async () => {
    throw new Error('secret path /etc')
  })
  const response = await fetch(listener.url)
  assert.equal(response.status, 500)
  assert.equal(await response.text(), '')
})

test('P1: a body that fails after its headers destroys the socket', async () => {
  await using listener = await serve(async () => {
    async function* body(): AsyncGenerator<Uint8Array, void> {
      yield Buffer.from('some')
      throw new Error('cut')
    }
    return { status: 200, headers: { 'content-length': 10 }, body: body() }
  })
  const response = await fetch(listener.url)
  assert.equal(response.status, 200)
  await assert.rejects(response.text())
})

test('P1: a body that is shorter than its Content-Length destroys the socket', async () => {
  await using listener = await serve(async () => ({
    status: 200,
    headers: { 'content-length': 10 },
    body: streamOf(Buffer.from('short')),
  }))
  await assert.rejects((await fetch(listener.url)).text())
  assert.equal(listener.lines[0]?.['msg'], 'answer broken off')
})

test('HEAD sends no body, and releases the one it was given', async () => {
  let released = false
  const body: ByteStream = {
    [Symbol.asyncIterator]() {
      throw new Error('read for a HEAD')
    },
    async [Symbol.asyncDispose]() {
      released = true
    },
  }
  await using listener = await serve(async () => ({ status: 200, headers: { 'content-length': 10 }, body }))
  const response = await fetch(listener.url, { method: 'HEAD' })
  assert.equal(response.headers.get('content-length'), '10')
  await listener.close(1000)
  assert.ok(released)
})

test('a client that leaves in the middle releases the body and fires the signal', async () => {
  const aborted = deferred()
  const released = deferred()
  await using listener = await serve(async ({ signal }) => {
    signal.addEventListener('abort', () => aborted.resolve())
    async function* body(): AsyncGenerator<Uint8Array, void> {
      try {
        for (;;) yield Buffer.alloc(65_536)
      } finally {
        released.resolve()
      }
    }
    return { status: 200, headers: {}, body: body() }
  })
  const socket = connect(listener.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(socket, 'data')
  socket.destroy()
  await Promise.all([aborted.promise, released.promise])
})

test('closing lets a running answer end, tells its client to leave, and takes nothing new', async () => {
  const started = deferred()
  const gate = deferred()
  await using listener = await serve(async () => {
    started.resolve()
    await gate.promise
    return { status: 200, headers: {}, body: Buffer.from('whole') }
  })
  const running = fetch(listener.url)
  await started.promise
  const closed = listener.close(10_000)
  gate.resolve()
  const response = await running
  assert.equal(await response.text(), 'whole')
  assert.equal(response.headers.get('connection'), 'close')
  assert.equal(await closed, 0)
  await assert.rejects(fetch(listener.url))
})

test('closing cuts what has not ended when the drain time is over', async () => {
  const started = deferred()
  await using listener = await serve(async ({ signal }) => {
    started.resolve()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return { status: 200, headers: {} }
  })
  const running = assert.rejects(fetch(listener.url))
  await started.promise
  assert.equal(await listener.close(10), 1)
  await running
})

test('closing does not wait for who has asked for nothing, with TLS and without', async () => {
  using tls = await selfSignedTls()
  for (const options of [{}, { tls }]) {
    await using listener = await listen(async () => ({ status: 200, headers: {} }), { ...local, ...options })
    const clients = [connect(listener.port, '127.0.0.1')]
    if ('tls' in options) clients.push(connectSecurely({ port: listener.port, rejectUnauthorized: false }))
    await Promise.all(
      clients.map(async (client) => await once(client, client instanceof TLSSocket ? 'session' : 'connect')),
    )
    const ended = Promise.all(
      clients.map(
        async (client) =>
          await once(
            client.on('error', () => {}),
            'close',
          ),
      ),
    )
    assert.equal(await listener.close(600_000), 0)
    await ended
  }
})

test('P7: closing waits for a handshake that does not end no longer than for an answer', async () => {
  using tls = await selfSignedTls()
  await using listener = await listen(async () => ({ status: 200, headers: {} }), { ...local, tls })
  const client = connect(listener.port, '127.0.0.1').on('error', () => {})
  await once(client, 'connect')
  client.write(Buffer.from([22, 3, 1, 2, 0])) // of a greeting that does not come
  for (let time = 0; time < 5; time++) await turn() // it has been read by then, most likely
  const ended = once(client, 'close')
  assert.equal(await listener.close(50), 0)
  await ended
})

test('chunks are asked for one at a time: a source may reuse its buffer', async () => {
  const size = 300_000
  await using listener = await serve(async () => {
    const buffer = Buffer.alloc(size)
    async function* body(): AsyncGenerator<Uint8Array, void> {
      for (let value = 1; value <= 20; value += 1) yield buffer.fill(value)
    }
    return { status: 200, headers: {}, body: body() }
  })
  const bytes = Buffer.from(await (await fetch(listener.url)).arrayBuffer())
  assert.equal(bytes.length, 20 * size)
  for (let value = 1; value <= 20; value += 1) {
    assert.ok(
      bytes.subarray((value - 1) * size, value * size).every((byte) => byte === value),
      `chunk ${value}`,
    )
  }
})

test('a body for a client that has gone is released unread', async () => {
  const released = deferred()
  const body: ByteStream = {
    [Symbol.asyncIterator]() {
      throw new Error('read for nobody')
    },
    async [Symbol.asyncDispose]() {
      released.resolve()
    },
  }
  const started = deferred()
  await using listener = await serve(async ({ signal }) => {
    started.resolve()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return { status: 200, headers: {}, body }
  })
  const socket = connect(listener.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await started.promise
  socket.destroy()
  await released.promise
})

test('closing lets a large answer reach a client that reads slowly', async () => {
  const size = 32 * 1024 * 1024
  await using listener = await serve(async () => ({ status: 200, headers: {}, body: Buffer.alloc(size) }))
  const socket = connect(listener.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(socket, 'readable')
  const closed = listener.close(600_000) // the connection could wait for more as long
  let received = 0
  for await (const chunk of socket) received += (chunk as Buffer).length
  assert.ok(received > size, `${received} bytes came`)
  assert.equal(await closed, 0)
})

test('answers without content have no Content-Length', async () => {
  for (const status of [204, 304]) {
    await using listener = await serve(async () => ({ status, headers: {} }))
    const answer = await request(listener, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    assert.doesNotMatch(answer, /content-length/i)
  }
})

test("a request with an expectation of its own is the handler's to answer, is logged, and is waited for", async () => {
  const started = deferred()
  const gate = deferred()
  await using listener = await serve(async ({ headers }) => {
    started.resolve()
    await gate.promise
    return { status: 417, headers: {}, body: Buffer.from(`no ${headers.expect}`) }
  })
  const answered = request(listener, 'GET / HTTP/1.1\r\nhost: a\r\nexpect: foo\r\n\r\n')
  await started.promise
  const closed = listener.close(10_000)
  gate.resolve()
  assert.match(await answered, /^HTTP\/1\.1 417 [^]*no foo$/)
  assert.equal(await closed, 0)
  assert.equal(listener.lines[0]?.['status'], 417)
})

test('a refused body that does not end is cut off, once', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning)
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  await using listener = await serve(async () => ({ status: 405, headers: {} }))
  const socket = connect(listener.port, '127.0.0.1')
  socket.on('error', () => {}) // it is cut while we write
  socket.write('PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n')
  const more = (): void => {
    while (!socket.destroyed && socket.write(Buffer.alloc(1024 * 1024)));
  }
  socket.on('drain', more)
  more()
  await new Promise((resolve) => socket.once('close', resolve)) // `once` of events would fail on the error
  await listener.until(({ status }) => status === 405)
  assert.deepEqual(warnings, [])
})

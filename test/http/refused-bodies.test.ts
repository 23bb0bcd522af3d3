// Requests that are refused while their bodies are still on their way.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { suite, test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { discardBody, discarded } from '../../src/http/discard.ts'
import type { Handler } from '../../src/http/exchange.ts'
import { listen, type Listener, type ListenerOptions } from '../../src/http/listener.ts'
import { Conversation, get } from '../support/conversation.ts'
import { saidTo } from '../support/raw-client.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { selfSignedTls } from '../support/tls-files.ts'

const handler: Handler = async ({ path, method, body }) => {
  if (path === '/empty') return { status: 404, headers: {} }
  if (path === '/some') {
    for await (const _ of body) break
    return { status: 413, headers: {}, body: Buffer.from('too much') }
  }
  if (method === 'GET') return { status: 200, headers: {}, body: Buffer.from('here') }
  return { status: 401, headers: { 'www-authenticate': 'Basic' }, body: Buffer.from('who?') }
}

async function serve(
  options: Partial<ListenerOptions> = {},
): Promise<Listener & { readonly lines: Record<string, unknown>[] }> {
  const { logger, lines } = recordingLogger()
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger, ...options })
  return Object.assign(listener, { lines })
}

function head(path: string, ...lines: string[]): string {
  return [`PUT ${path} HTTP/1.1`, 'host: a', ...lines, '', ''].join('\r\n')
}

const chunked = 'transfer-encoding: chunked'

const refused: Readonly<Record<string, readonly [begin: string, rest: string, answer: RegExp]>> = {
  'a body of some length': [head('/', 'content-length: 4'), 'four', /^HTTP\/1\.1 401 [^]*who\?$/],
  'one that has begun': [head('/', 'content-length: 4') + 'fo', 'ur', /^HTTP\/1\.1 401 [^]*who\?$/],
  'one that has been read in part': [head('/some', 'content-length: 4') + 'fo', 'ur', /^HTTP\/1\.1 413 [^]*too much$/],
  'one in chunks': [head('/', chunked), '4\r\nfour\r\n0\r\n\r\n', /^HTTP\/1\.1 401 [^]*who\?$/],
  'one whose answer has none': [head('/empty', 'content-length: 4'), 'four', /^HTTP\/1\.1 404 [^]*\r\n\r\n$/],
  'one behind a HEAD': [head('/empty', chunked).replace('PUT', 'HEAD'), '0\r\n\r\n', /^HTTP\/1\.1 404 /],
}

for (const isSecure of [false, true]) {
  suite(isSecure ? 'TLS' : 'plain', () => {
    for (const [what, [begin, rest, answer]] of Object.entries(refused)) {
      test(`who sends ${what} hears at once why it is refused, and his connection goes on`, async () => {
        using tls = await selfSignedTls()
        await using listener = await serve(isSecure ? { tls } : {})
        using client = new Conversation(listener)
        for (let time = 0; time < 2; time++) {
          const said = await client.ask(begin)
          assert.match(said, answer)
          assert.match(said, /^connection: keep-alive\r$/im)
          assert.match(await client.ask(rest + get('/')), /^HTTP\/1\.1 200 [^]*here$/)
        }
        assert.equal(listener.lines.length, 4)
      })
    }
  })
}

for (const [what, size] of [
  ['all', 8 * 1024 * 1024],
  ['as much as is read away', discarded.bytes],
] as const) {
  test(`who looks only when he has sent ${what} hears why, too, and his connection goes on`, async () => {
    await using listener = await serve()
    using client = new Conversation(listener)
    client.pause()
    await client.send(head('/', `content-length: ${size}`) + 'x'.repeat(size) + get('/'))
    client.resume()
    const said = await client.answer()
    assert.match(said, /^HTTP\/1\.1 401 [^]*who\?$/)
    assert.match(said, /^connection: keep-alive\r$/im)
    assert.match(await client.answer(), /^HTTP\/1\.1 200 [^]*here$/)
  })
}

test('who announces more than is read away hears so at once, and that it is the last answer', async () => {
  await using listener = await serve()
  using client = new Conversation(listener)
  assert.match(
    await client.ask(head('/', 'content-length: 100000000')),
    /^HTTP\/1\.1 401 [^]*connection: close[^]*who/i,
  )
  assert.deepEqual(listener.lines, [], 'it is not over for us')
})

test('who sends more than is read away is told the end before he is cut: a reset is no answer to some', async () => {
  const ended: boolean[] = []
  const server = createServer((incoming, response) => {
    incoming.socket.once('close', () => ended.push(incoming.socket.writableFinished))
    response.writeHead(401).flushHeaders()
    void discardBody(incoming)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const said = await saidTo(
    `http://127.0.0.1:${port}`,
    head('/', chunked) + 'ffffffff\r\n' + 'x'.repeat(discarded.bytes + 1),
  )
  assert.match(said, /^HTTP\/1\.1 401 /)
  server.close()
  await once(server, 'close')
  assert.deepEqual(ended, [true])
})

test('a server that closes waits for the body of who has been refused', async () => {
  await using listener = await serve()
  const socket = connect(listener.port, '127.0.0.1')
  const answered = deferred()
  const ended = deferred()
  socket.once('data', () => answered.resolve()).once('close', () => ended.resolve())
  socket.write(head('/', 'content-length: 4'))
  await answered.promise
  const closed = listener.close(600_000)
  socket.write('four')
  await ended.promise
  assert.equal(await closed, 0)
  assert.deepEqual(
    listener.lines.map(({ status, bytes }) => [status, bytes]),
    [[401, 4]],
  )
})

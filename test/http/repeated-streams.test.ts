// Requests that come again byte for byte, and whose answers' bodies are had anew each time.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred, type Deferred } from '../../src/async/deferred.ts'
import { MemoryFileStream, type MemoryFile } from '../../src/bytes/memory-file.ts'
import type { ByteStream } from '../../src/bytes/stream.ts'
import type { Handler } from '../../src/http/exchange.ts'
import { listen, type Listener, type ListenerOptions } from '../../src/http/listener.ts'
import { SentMemoryFiles } from '../../src/http/memory-files.ts'
import { LateSendfile } from '../../src/http/sendfile.ts'
import { Conversation, get } from '../support/conversation.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { selfSignedTls } from '../support/tls-files.ts'

const pieces = Array.from({ length: 3 }, (_, nth) => Buffer.alloc(50_000, String(nth)))
const whole = Buffer.concat(pieces).toString()
/** Several of them are more than Node lets wait on one connection before it takes its next request. */
const more = Buffer.alloc(64 * 1024, 'm')

interface Server extends Listener {
  /** Paths that the handler was asked for. */
  readonly asked: string[]
  readonly lines: Record<string, unknown>[]
  /** Streams that nobody has released. */
  open: number
  isKept: boolean
  /** Where a stream waits after its first piece. */
  gate: Deferred<void> | undefined
  failure: Error | undefined
}

/** Serves `/kept` out of a stream that can be had again; all else is answered at once. */
async function serve(options: Partial<ListenerOptions> = {}): Promise<Server> {
  const { logger, lines } = recordingLogger()
  const asked: string[] = []
  const state = {
    asked,
    lines,
    open: 0,
    isKept: true,
    gate: undefined as Deferred<void> | undefined,
    failure: undefined as Error | undefined,
  }
  const stream = (): ByteStream => {
    state.open += 1
    let isOpen = true
    return {
      async *[Symbol.asyncIterator]() {
        for (const piece of pieces) {
          yield piece
          await state.gate?.promise
          if (state.failure !== undefined) throw state.failure
        }
      },
      [Symbol.asyncDispose]: async () => {
        if (isOpen) state.open -= 1
        isOpen = false
      },
      again: () => (state.isKept ? stream() : undefined),
    }
  }
  const handler: Handler = ({ path, log }) => {
    asked.push(path)
    if (path === '/more') return { status: 200, headers: {}, body: more }
    if (path !== '/kept') return { status: 200, headers: {}, body: Buffer.from(`this is ${path}`) }
    log['reference'] = path
    return { status: 200, headers: { 'content-length': whole.length }, body: stream(), holds: () => true }
  }
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger, ...options })
  return Object.assign(state, {
    port: listener.port,
    url: listener.url,
    close: async (time: number) => await listener.close(time),
    [Symbol.asyncDispose]: async () => await listener[Symbol.asyncDispose](),
  })
}

/** Has its next request for `/kept` answered without the handler. */
async function learn(client: Conversation, server: Server): Promise<void> {
  for (let time = 0; time < 3; time++) assert.ok((await client.ask(get('/kept'))).endsWith(whole))
  while (server.lines.length < 3) await turn()
  server.asked.length = server.lines.length = 0
}

interface Standing extends AsyncDisposable {
  readonly server: Server
  readonly client: Conversation
  readonly gate: Deferred<void>
}

/** A client to whom `/kept` leaves, unasked: its first piece; what is behind it waits at the gate. */
async function standing(options: Partial<ListenerOptions> = {}): Promise<Standing> {
  const server = await serve(options)
  const client = new Conversation(server)
  await learn(client, server)
  const gate = deferred()
  server.gate = gate
  await client.send(get('/kept'))
  return {
    server,
    client,
    gate,
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

function headOf(answer: string): string {
  return answer.slice(0, answer.indexOf('\r\n\r\n')).replace(/^date: .*$/im, '')
}

test('P1: a body that can be had again is sent again, unasked, with the head and the line that it has had', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  const first = await client.ask(get('/kept'))
  while (server.lines.length === 0) await turn()
  const [line] = server.lines
  await learn(client, server)
  const answer = await client.ask(get('/kept'))
  assert.ok(answer.endsWith(`\r\n\r\n${whole}`))
  assert.equal(headOf(answer), headOf(first))
  while (server.lines.length === 0) await turn()
  assert.deepEqual(server.asked, [])
  const { time, ms } = server.lines[0] ?? {}
  assert.deepEqual(server.lines, [{ ...line, time, ms }])
  assert.equal(server.open, 0)
})

test('with TLS it is so, too', async () => {
  using tls = await selfSignedTls()
  await using server = await serve({ tls })
  using client = new Conversation(server)
  await learn(client, server)
  assert.ok((await client.ask(get('/kept'))).endsWith(whole))
  assert.deepEqual(server.asked, [])
})

test('P3: what is kept no longer is asked for', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  await learn(client, server)
  server.isKept = false
  await client.ask(get('/kept'))
  assert.deepEqual(server.asked, ['/kept'])
})

test('P1: what comes while it leaves waits until it has left', async () => {
  await using leaving = await standing()
  const { server, client, gate } = leaving
  await client.send(get('/next'))
  await client.send(`${get('/kept')}GET /la`)
  await client.send('st HTTP/1.1\r\nhost: a\r\n\r\n')
  for (let time = 0; time < 10; time++) await turn()
  assert.deepEqual(server.asked, [])
  gate.resolve()
  assert.ok((await client.answer()).endsWith(whole))
  assert.match(await client.answer(), /this is \/next$/)
  assert.ok((await client.answer()).endsWith(whole))
  assert.match(await client.answer(), /this is \/last$/)
  assert.ok((await client.ask(get('/kept'))).endsWith(whole))
})

test('P1: the same request that comes while it leaves is answered the same way, and so is the one after that', async () => {
  await using leaving = await standing()
  const { server, client, gate } = leaving
  await client.send(get('/kept'))
  gate.resolve()
  for (let time = 0; time < 2; time++) assert.ok((await client.answer()).endsWith(whole))
  for (let time = 0; time < 2; time++) assert.ok((await client.ask(get('/kept'))).endsWith(whole))
  assert.deepEqual(server.asked, [])
})

test('P1: what comes while it leaves, and is more than can be answered at once, is answered all the same', async () => {
  await using leaving = await standing()
  const { client, gate } = leaving
  await client.send(get('/more').repeat(20))
  await client.send(get('/last'))
  gate.resolve()
  assert.ok((await client.answer()).endsWith(whole))
  for (let time = 0; time < 20; time++) assert.ok((await client.answer()).endsWith(more.toString()))
  assert.match(await client.answer(), /this is \/last$/)
})

test('P7: a client that leaves meanwhile leaves nothing open, and its line says so', async () => {
  await using leaving = await standing()
  const { server, client, gate } = leaving
  client[Symbol.dispose]()
  gate.resolve()
  while (server.lines.length === 0) await turn()
  const [{ msg, aborted, bytes, reference } = {}] = server.lines
  assert.deepEqual([msg, aborted, reference], ['request aborted', true, '/kept'])
  assert.ok(Number(bytes) < whole.length)
  assert.deepEqual([server.asked, server.open], [[], 0])
})

test('P1: where its bytes cannot be had to the end the answer is broken off', async () => {
  await using server = await serve()
  using client = new Conversation(server)
  await learn(client, server)
  server.failure = new Error('no more of it')
  assert.equal(await client.ask(get('/kept')), '')
  const [{ level, msg, error } = {}] = server.lines
  assert.deepEqual([level, msg], ['warn', 'answer broken off'])
  assert.match(JSON.stringify(error), /no more of it/)
  assert.equal(server.open, 0)
})

test('a server that closes lets it end, and answers what has come meanwhile', async () => {
  await using leaving = await standing()
  const { server, client, gate } = leaving
  using idle = new Conversation(server)
  await idle.ask(get('/idle'))
  await client.send(get('/next'))
  const closed = server.close(10_000)
  using late = new Conversation(server)
  assert.equal(await late.ask(get('/late')), '', 'nobody new is let in')
  gate.resolve()
  assert.ok((await client.answer()).endsWith(whole))
  assert.match(await client.answer(), /connection: close\r\n[^]*this is \/next$/i)
  assert.equal(await idle.answer(), '')
  assert.equal(await closed, 0)
})

test('a server that closes ends its connection when it has left', async () => {
  await using leaving = await standing()
  const { server, client, gate } = leaving
  const closed = server.close(600_000)
  gate.resolve()
  assert.ok((await client.answer()).endsWith(whole))
  assert.equal(await client.answer(), '')
  assert.equal(await closed, 0)
})

test('a server that may wait no longer cuts it, and counts it', async () => {
  await using leaving = await standing()
  const { server, client, gate } = leaving
  assert.equal(await server.close(50), 1)
  assert.equal(await client.answer(), '')
  gate.resolve()
  while (server.open > 0) await turn()
})

test('T-98: it is not cut to make room for others', async () => {
  await using leaving = await standing({ connections: 1 })
  const { server, client, gate } = leaving
  using late = new Conversation(server)
  assert.equal(await late.ask(get('/late')), '', 'nobody new is let in')
  gate.resolve()
  assert.ok((await client.answer()).endsWith(whole))
  assert.match(await client.ask(get('/next')), /this is \/next$/)
})

test('its client has the time that any other has, and no more than that between two requests', async () => {
  await using leaving = await standing({ idleTimeout: 300, keepAliveTimeout: 60_000 })
  assert.equal(await leaving.client.answer(), '', 'nothing has moved')
  leaving.gate.resolve()
  await using brief = await serve({ idleTimeout: 60_000, keepAliveTimeout: 1 })
  using client = new Conversation(brief)
  await learn(client, brief)
  assert.ok((await client.ask(get('/kept'))).endsWith(whole))
  assert.equal(await client.answer(), '') // Node grants a second more
})

/** Asks one time after the other. */
class Asking {
  readonly socket: Socket

  private constructor(socket: Socket) {
    this.socket = socket
  }

  static async open(port: number): Promise<Asking> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new Asking(socket)
  }

  /** The body. A slow one lets what has come stand for a while. */
  async ask(isSlow: boolean): Promise<Buffer> {
    const chunks: Buffer[] = []
    let left = Infinity
    this.socket.write(get('/'))
    for await (const chunk of this.socket.iterator({ destroyOnReturn: false })) {
      if (chunks.length === 0) {
        const head = chunk.indexOf('\r\n\r\n') + 4
        left = head + Number(/content-length: (\d+)/i.exec(chunk.toString('latin1', 0, head))?.[1])
        chunks.push(chunk.subarray(head))
      } else chunks.push(chunk)
      left -= chunk.byteLength
      if (left === 0) return Buffer.concat(chunks)
      if (isSlow) for (let step = 0; step < 5; step++) await turn()
    }
    return assert.fail('the connection has ended')
  }
}

suite('out of files in memory', { skip: process.platform !== 'linux' && 'only Linux is asked' }, () => {
  /** More than stands between the two ends of a connection. */
  const size = 16 * 1024 * 1024
  const content = randomBytes(size)

  function streamOf(file: MemoryFile): ByteStream {
    const body: ByteStream = new MemoryFileStream(file, { start: 0, end: size })
    return Object.assign(body, { again: () => streamOf(file) })
  }

  test('P1: clients who take, who wait and who leave: each gets its bytes', async () => {
    const { logger, lines } = recordingLogger()
    const sendfile = new LateSendfile(logger)
    sendfile.load()
    while (sendfile.loaded === undefined) await turn()
    using files = new SentMemoryFiles(sendfile, logger)
    const file = files.create(content)
    assert.ok(file !== undefined)
    let asked = 0
    await using listener = await listen(
      () => {
        asked += 1
        return { status: 200, headers: { 'content-length': size }, body: streamOf(file), holds: () => true }
      },
      { host: '127.0.0.1', port: 0, logger, sendfile },
    )
    const times = 6
    const ask = async (isSlow: boolean): Promise<void> => {
      const client = await Asking.open(listener.port)
      for (let time = 0; time < times; time++) assert.ok((await client.ask(isSlow)).equals(content))
      client.socket.destroy()
    }
    const leave = async (): Promise<void> => {
      for (let time = 0; time < 5; time++) {
        const client = await Asking.open(listener.port)
        for (let answers = 0; answers < 3; answers++) await client.ask(false)
        client.socket.write(get('/'))
        await once(client.socket, 'readable')
        client.socket.destroy()
      }
    }
    await Promise.all([ask(false), ask(true), ask(false), ask(true), leave()])
    assert.ok(asked < 4 * times, `${asked} were asked for`)
    assert.ok(lines.every(({ msg }) => msg === 'request' || msg === 'request aborted'))
  })
})

// When the system is asked to send a file past what is being written.
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { SendableFile } from '../../src/bytes/stream.ts'
import { ClientGoneError } from '../../src/http/exchange.ts'
import { ResponseTarget } from '../../src/http/response-target.ts'

const file: SendableFile = { fd: 1, isInMemory: false }

interface Waiting {
  readonly response: ServerResponse
  readonly socket: Socket
  /** What the socket has been handed, in one go each. */
  readonly handed: string[]
  readonly take: () => void
}

/** A response whose socket takes what is written when `take` is called. */
function waitingResponse(): Waiting {
  const waiting: (() => void)[] = []
  const handed: string[] = []
  const socket = Object.assign(new Socket(), {
    _writev: null,
    _write(bytes: unknown, _encoding: unknown, done: () => void) {
      handed.push(String(bytes))
      waiting.push(done)
    },
  })
  const request = Object.assign(new IncomingMessage(socket), { httpVersionMajor: 1, httpVersionMinor: 1 })
  const response = new ServerResponse(request)
  response.assignSocket(socket)
  return { response, socket, handed, take: () => waiting.splice(0).forEach((done) => done()) }
}

test('P1: nothing is sent past bytes that have not left', async () => {
  const { response, socket, take } = waitingResponse()
  const sent = { bytes: 0 }
  let asked = 0
  const connection = {
    send: async (_: unknown, _position: number, length: number): Promise<number> => {
      asked += 1
      return length
    },
    [Symbol.dispose]: () => void (asked = -1),
  }
  {
    using target = new ResponseTarget(response, sent, { sendfile: { connect: () => connection }, isPromised: true })
    response.writeHead(200, { 'content-length': 1000 })
    response.flushHeaders()
    assert.equal(await target.sendFile(file, 0, 1000), 0, 'the head is on its way')
    take()
    assert.equal(await target.sendFile(file, 0, 600), 600)
    const written = target.write(Buffer.alloc(4))
    assert.equal(await target.sendFile(file, 600, 400), 0)
    take()
    await written
    assert.deepEqual([asked, sent.bytes], [1, 604])
    socket.destroy()
    response.destroy()
    await assert.rejects(target.sendFile(file, 604, 396), ClientGoneError)
  }
  assert.equal(asked, -1, 'its descriptor is given back')
})

test('P1: nothing is sent for a response that waits for another one, and all is when its turn has come', async () => {
  const { response: first, socket, take } = waitingResponse()
  const response = new ServerResponse(new IncomingMessage(socket))
  const connection = {
    send: async (_: unknown, _position: number, length: number) => length,
    [Symbol.dispose]: () => {},
  }
  using target = new ResponseTarget(
    response,
    { bytes: 0 },
    { sendfile: { connect: () => connection }, isPromised: true },
  )
  response.writeHead(200, { 'content-length': 1000 })
  response.flushHeaders()
  assert.equal(await target.sendFile(file, 0, 1000), 0)
  const written = target.write(Buffer.alloc(4))
  first.detachSocket(socket)
  response.assignSocket(socket)
  assert.equal(await target.sendFile(file, 4, 996), 0, 'the head is on its way')
  for (let time = 0; time < 3; time++) {
    take()
    await turn()
  }
  await written
  assert.equal(await target.sendFile(file, 4, 996), 996)
})

test('what is sent counts as movement of the connection', async () => {
  const { response, socket } = waitingResponse()
  let moved = 0
  socket.setTimeout(1000)
  socket.setTimeout = () => {
    moved += 1
    return socket
  }
  let taken = 0
  const connection = { send: async () => taken, [Symbol.dispose]: () => {} }
  using target = new ResponseTarget(
    response,
    { bytes: 0 },
    { sendfile: { connect: () => connection }, isPromised: true },
  )
  await target.sendFile(file, 0, 10)
  assert.equal(moved, 0)
  taken = 10
  await target.sendFile(file, 0, 10)
  assert.equal(moved, 1)
})

test('P1: nothing is sent past a head that the connection takes no more', async () => {
  const { response, socket } = waitingResponse()
  socket.end() // as Node does when the client has said that it sends no more
  response.writeHead(200, { 'content-length': 1000 })
  response.flushHeaders()
  const connection = { send: async () => assert.fail('bytes without a head'), [Symbol.dispose]: () => {} }
  using target = new ResponseTarget(
    response,
    { bytes: 0 },
    { sendfile: { connect: () => connection }, isPromised: true },
  )
  assert.equal(await target.sendFile(file, 0, 1000), 0)
  const written = target.write(Buffer.alloc(4))
  response.destroy()
  await assert.rejects(written, ClientGoneError)
})

test('P1: pieces leave in order, each when the last has been taken, and none when the client has gone', async () => {
  const { response, handed, take } = waitingResponse()
  response.writeHead(200, { 'content-length': 1000 })
  response.flushHeaders()
  const sent = { bytes: 0 }
  using target = new ResponseTarget(response, sent, { isPromised: true, most: () => 3 })
  const written = target.write(Buffer.from('abcdefgh'))
  take()
  for (const expected of ['abc', 'def']) {
    await turn()
    assert.equal(handed.at(-1), expected)
    take()
    assert.equal(handed.at(-1), expected, 'others are heard before the next')
  }
  await turn()
  assert.deepEqual([handed.at(-1), sent.bytes], ['gh', 6])
  take()
  await written
  assert.deepEqual([sent.bytes, handed.length], [8, 4])
  const last = target.write(Buffer.from('ijklmnop'))
  await turn()
  response.destroy()
  take()
  await assert.rejects(last, ClientGoneError)
  await turn()
  assert.deepEqual([handed.length, handed.at(-1)], [5, 'ijk'])
})

test('P1: a connection that has ended meanwhile is handed nothing, and fails with nothing of its own', async () => {
  const { response, socket, handed, take } = waitingResponse()
  socket.once('error', assert.ifError)
  response.writeHead(200, { 'content-length': 1000 })
  response.flushHeaders()
  using target = new ResponseTarget(response, { bytes: 0 }, { isPromised: true, most: () => 3 })
  const written = target.write(Buffer.from('abcdef'))
  socket.end()
  take()
  await turn()
  take()
  await assert.rejects(written, ClientGoneError)
  assert.equal(handed.at(-1), 'abc')
})

test('bytes of an answer whose length was not promised leave as chunks', async () => {
  const { response, handed, take } = waitingResponse()
  response.writeHead(200)
  response.flushHeaders()
  using target = new ResponseTarget(response, { bytes: 0 }, { isPromised: false })
  const written = target.write(Buffer.from('abc'))
  for (let count = 0; count < 5; count += 1) {
    take()
    await turn()
  }
  await written
  assert.match(handed.join(''), /\r\n\r\n3\r\nabc\r\n$/)
})

// Files that the system sends by itself: whole, in order, to the right client, and given up properly.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync } from 'node:fs'
import { truncate, writeFile } from 'node:fs/promises'
import { connect, Socket } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ByteStream, ByteTarget } from '../../src/bytes/stream.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import type { Reply } from '../../src/http/exchange.ts'
import { listen, type ListenerOptions } from '../../src/http/listener.ts'
import { LateSendfile, loadSendfile } from '../../src/http/sendfile.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { recordingLogger } from '../support/recording-logger.ts'

const size = 24 * 1024 * 1024
const content = randomBytes(size)

/** What each answer was handed over with. */
interface Taken {
  /** Bytes that the system took out of the file. */
  sent: number
  /** Bytes that were read and written. */
  written: number
}

interface Served extends AsyncDisposable {
  readonly port: number
  readonly lines: readonly Record<string, unknown>[]
  readonly folder: string
  /** One for each answer that was transferred. */
  readonly taken: readonly Taken[]
  /** Answers that were read. */
  readonly read: () => number
}

/** Serves `/START-END`: those bytes of a file. */
async function serve(options: Partial<ListenerOptions> = {}): Promise<Served> {
  const folder = await temporaryFolder()
  await writeFile(join(folder.path, 'file'), content)
  const driver = filesystemDriver({ rootDirectory: folder.path })
  const { logger, lines } = recordingLogger()
  const taken: Taken[] = []
  let read = 0
  const handler = async ({ path }: { path: string }): Promise<Reply> => {
    const [start = 0, end = size] = path.slice(1).split('-').filter(Boolean).map(Number)
    const file = await driver.open('/file', { start, end })
    const counts: Taken = { sent: 0, written: 0 }
    const body: ByteStream = {
      [Symbol.asyncIterator]: () => {
        read += 1
        return file[Symbol.asyncIterator]()
      },
      [Symbol.asyncDispose]: async () => await file[Symbol.asyncDispose](),
      transferTo: async (target) => {
        taken.push(counts)
        await file.transferTo?.(counted(target, counts))
      },
    }
    return { status: 200, headers: { 'content-length': end - start }, body }
  }
  const sendfile = new LateSendfile(logger)
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger, sendfile, ...options })
  await loadSendfile() // which a server does when its first large answer has left
  const first = await open(listener.port)
  ask(first, '/0-1000000', 'connection: close\r\n')
  assertSame((await bodies(first, 1))[0], 0, 1_000_000)
  while (lines.length === 0) await turn()
  assert.deepEqual([read, taken.length], [1, 0], 'the first one is read')
  lines.length = 0
  read = 0
  return {
    port: listener.port,
    lines,
    folder: folder.path,
    taken,
    read: () => read,
    [Symbol.asyncDispose]: async () => {
      await listener[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

function counted(target: ByteTarget, counts: Taken): ByteTarget {
  return {
    sendFile: async (from, position, length) => {
      const count = await target.sendFile(from, position, length)
      counts.sent += count
      return count
    },
    write: async (bytes) => {
      await target.write(bytes)
      counts.written += bytes.byteLength
    },
  }
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

function ask(socket: Socket, path: string, extra = ''): void {
  socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n${extra}\r\n`)
}

/** Reads `count` answers off a connection, and gives their bodies. */
async function bodies(socket: Socket, count: number): Promise<Buffer[]> {
  const found: Buffer[] = []
  let come = Buffer.alloc(0)
  const chunks: Buffer[] = []
  let wanted = 0
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk)
    wanted -= chunk.byteLength
    if (wanted > 0) continue
    come = Buffer.concat([come, ...chunks.splice(0)])
    for (;;) {
      const head = come.indexOf('\r\n\r\n')
      if (head < 0) break
      const length = Number(/content-length: (\d+)/i.exec(come.toString('latin1', 0, head))?.[1])
      wanted = head + 4 + length - come.byteLength
      if (wanted > 0) break
      found.push(come.subarray(head + 4, head + 4 + length))
      come = come.subarray(head + 4 + length)
    }
    if (found.length === count) break
  }
  return found
}

function assertSame(found: Buffer | undefined, start = 0, end = size): void {
  assert.equal(found?.byteLength, end - start)
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
  assert.equal(digest(found), digest(content.subarray(start, end)))
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

suite('sendfile', { skip: process.platform !== 'linux' && 'only Linux is asked' }, () => {
  test('P1: a large answer is sent by the system, and is right, from any byte to any other', async () => {
    await using served = await serve()
    for (const [start, end] of [
      [0, size],
      [1, size],
      [4097, size - 3],
      [size - 300_000, size],
    ] as const) {
      const socket = await open(served.port)
      ask(socket, `/${start}-${end}`, 'connection: close\r\n')
      assertSame((await bodies(socket, 1))[0], start, end)
    }
    while (served.lines.length < 4) await turn()
    assert.equal(served.read(), 0)
    for (const { sent, written } of served.taken) assert.ok(sent > written, `${sent} sent, ${written} written`)
    assert.deepEqual(
      served.lines.map((line) => line['bytes']),
      [size, size - 1, size - 4100, 300_000],
    )
  })

  test('P1: one after the other on one connection, and asked for all at once, large and small', async () => {
    await using served = await serve()
    const socket = await open(served.port)
    for (const path of ['/', '/5-10', `/7-${size}`, '/', '/0-100000']) ask(socket, path)
    const [first, tiny, third, fourth, small] = await bodies(socket, 5)
    assertSame(first)
    assertSame(tiny, 5, 10)
    assertSame(third, 7)
    assertSame(fourth)
    assertSame(small, 0, 100_000)
    assert.equal(served.taken.length, 3)
    for (const { sent, written } of served.taken) assert.ok(sent > written, `${sent} sent, ${written} written`)
    ask(socket, '/')
    assertSame((await bodies(socket, 1))[0])
    ask(socket, '/0-100000')
    const before = served.read()
    assertSame((await bodies(socket, 1))[0], 0, 100_000)
    assert.equal(served.read(), before + 1, 'what is small is not worth the question')
  })

  test('P4: a client that takes nothing for a while gets all of it, and keeps nobody else waiting', async () => {
    await using served = await serve()
    const slow = await open(served.port)
    ask(slow, '/')
    await once(slow, 'readable') // and takes nothing
    const others = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = await open(served.port)
        ask(socket, '/', 'connection: close\r\n')
        return (await bodies(socket, 1))[0]
      }),
    )
    for (const other of others) assertSame(other)
    assertSame((await bodies(slow, 1))[0])
    assert.ok(
      served.taken.some(({ written }) => written > 0),
      'nobody had to wait',
    )
  })

  test('P7: whoever leaves in the middle leaves nothing open', async () => {
    await using served = await serve()
    const socket = await open(served.port)
    ask(socket, '/', 'connection: close\r\n')
    await bodies(socket, 1) // what is loaded once stays open
    const before = descriptors()
    for (let round = 0; round < 10; round++) {
      const leaver = await open(served.port)
      ask(leaver, '/')
      await once(leaver, 'readable')
      leaver.resetAndDestroy()
    }
    while (served.lines.length < 11) await turn()
    for (const line of served.lines.slice(1)) assert.equal(line['msg'], 'request aborted')
    while (descriptors() > before) await turn()
  })

  test('a client that stands still is cut after the idle time', async () => {
    await using served = await serve({ idleTimeout: 300 })
    const still = await open(served.port)
    ask(still, '/')
    await once(still, 'readable')
    while (served.lines.length === 0) await turn()
    assert.equal(served.lines[0]?.['msg'], 'request aborted')
    still.destroy()
  })

  test('P1: a file that ends too early ends in a broken answer, never in a complete one', async () => {
    await using served = await serve()
    const socket = await open(served.port)
    ask(socket, '/')
    await once(socket, 'readable')
    await truncate(join(served.folder, 'file'), size - 100_000)
    socket.on('error', () => {}) // it is reset
    let come = 0
    socket.on('data', (chunk: Buffer) => (come += chunk.byteLength))
    await once(socket, 'close')
    assert.ok(come < size)
    assert.equal(served.lines[0]?.['msg'], 'answer broken off')
    assert.match(JSON.stringify(served.lines[0]?.['error']), /ends too early/)
  })

  test('where it is switched off the same bytes are read and written', async () => {
    await using served = await serve({ sendfile: undefined })
    const socket = await open(served.port)
    ask(socket, '/', 'connection: close\r\n')
    assertSame((await bodies(socket, 1))[0])
    assert.deepEqual([served.read(), served.taken.length], [1, 0])
  })

  test('what the system does not send is read and written, and so is what it cannot send at all', async () => {
    await using served = await serve()
    const found = await loadSendfile()
    const socket = await open(served.port)
    using connection = found.connect(socket)
    assert.ok(connection !== undefined)
    assert.equal(await connection.send({ fd: -1, isInMemory: false }, 0, 100), 0, 'no file')
    const driver = filesystemDriver({ rootDirectory: served.folder })
    await using file = await driver.open('/file')
    const written: Buffer[] = []
    await file.transferTo?.({
      sendFile: async () => 0,
      write: async (bytes) => void written.push(Buffer.from(bytes)),
    })
    assertSame(Buffer.concat(written))
    assert.equal(found.connect(new Socket()), undefined, 'no descriptor')
    socket.destroy()
  })

  test('a connection of its own does not follow the socket to another client', async () => {
    await using served = await serve()
    const found = await loadSendfile()
    const socket = await open(served.port)
    using connection = found.connect(socket)
    assert.ok(connection !== undefined)
    const fd = openSync(join(served.folder, 'file'), 'r')
    const sends = Array.from({ length: 5000 }, async () => await connection.send({ fd, isInMemory: false }, 0, 1))
    const closed = once(socket, 'close')
    socket.destroy()
    await closed
    const others = await Promise.all(Array.from({ length: 8 }, async () => await open(served.port))) // one has its number now
    await Promise.all(sends)
    closeSync(fd)
    for (const other of others) {
      ask(other, '/0-10', 'connection: close\r\n')
      assertSame((await bodies(other, 1))[0], 0, 10)
    }
  })

  test('P9: where it cannot be had, one line says so', async () => {
    const { logger, lines } = recordingLogger()
    const here = process.platform
    Object.defineProperty(process, 'platform', { value: 'sunos' })
    try {
      const late = new LateSendfile(logger)
      late.load()
      while (lines.length === 0) await turn()
      late.load()
      await turn()
      assert.equal(late.loaded, undefined)
      assert.deepEqual(
        lines.map(({ level, msg }) => [level, msg]),
        [['info', 'files are sent without sendfile']],
      )
    } finally {
      Object.defineProperty(process, 'platform', { value: here })
    }
  })
})

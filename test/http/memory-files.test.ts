// Files in memory, and answers that are sent out of them.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { openSync, readSync } from 'node:fs'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { MemoryFileStream } from '../../src/bytes/memory-file.ts'
import { listen } from '../../src/http/listener.ts'
import { SentMemoryFiles } from '../../src/http/memory-files.ts'
import { LateSendfile } from '../../src/http/sendfile.ts'
import { openMemoryFiles } from '../support/memory-files.ts'
import { recordingLogger } from '../support/recording-logger.ts'

const size = 1024 * 1024
const content = randomBytes(size)

async function loaded(): Promise<LateSendfile> {
  const { logger, lines } = recordingLogger()
  const late = new LateSendfile(logger)
  late.load()
  while (late.loaded === undefined) {
    assert.deepEqual(lines, [])
    await turn()
  }
  return late
}

suite('files in memory', { skip: process.platform !== 'linux' && 'only Linux is asked' }, () => {
  test('have the bytes that they are made with, and are closed once', async () => {
    const { logger, lines } = recordingLogger()
    using files = new SentMemoryFiles(await loaded(), logger)
    const file = files.create(content)
    assert.ok(file !== undefined)
    assert.equal(openMemoryFiles(), 1)
    const read = Buffer.alloc(size + 1)
    assert.equal(readSync(file.fd, read, 0, size + 1, 0), size)
    assert.ok(read.subarray(0, size).equals(content))
    file[Symbol.dispose]()
    file[Symbol.dispose]()
    assert.deepEqual([file.fd, openMemoryFiles(), lines.length], [-1, 0, 0])
  })

  test('are not made for what is not sent out of them', async () => {
    const { logger, lines } = recordingLogger()
    using early = new SentMemoryFiles(new LateSendfile(logger), logger)
    assert.equal(early.create(content), undefined, 'what sends them is not here')
    using files = new SentMemoryFiles(await loaded(), logger)
    assert.equal(files.create(content.subarray(1, 256 * 1024)), undefined)
    assert.ok(files.create(content.subarray(0, 256 * 1024)) !== undefined)
    assert.equal(lines.length, 0)
  })

  test('are closed with who made them, and no more are made', async () => {
    const { logger } = recordingLogger()
    const files = new SentMemoryFiles(await loaded(), logger)
    const open = [files.create(content), files.create(content)]
    open[0]?.[Symbol.dispose]()
    assert.equal(openMemoryFiles(), 1)
    files[Symbol.dispose]()
    open[1]?.[Symbol.dispose]()
    assert.equal(openMemoryFiles(), 0)
    assert.equal(files.create(content), undefined)
  })

  test('P9: where the system makes none, or takes no bytes, one line says so, and it is tried again a minute later', async () => {
    for (const makes of [
      (): number => {
        throw new Error('no file')
      },
      (): number => openSync('/dev/null', 'r'), // which cannot be written to
    ]) {
      const { logger, lines } = recordingLogger()
      const sendfile = (await loaded()).loaded ?? assert.fail()
      let asked = 0
      let now = 0
      let isFailing = true
      const createMemoryFile = (): number => {
        asked += 1
        return isFailing ? makes() : sendfile.createMemoryFile()
      }
      using files = new SentMemoryFiles({ loaded: { connect: () => undefined, createMemoryFile } }, logger, () => now)
      const create = (at: number): boolean => {
        now = at
        return files.create(content) !== undefined
      }
      assert.deepEqual([create(0), create(59_999), asked, lines.length], [false, false, 1, 1])
      assert.deepEqual([create(60_000), create(60_001), asked, lines.length], [false, false, 2, 1])
      isFailing = false
      assert.deepEqual([create(120_000), create(120_001), asked, lines.length], [true, true, 4, 1])
      isFailing = true
      assert.deepEqual([create(120_002), asked], [false, 5])
      assert.deepEqual(
        lines.map(({ msg }) => msg),
        Array.from({ length: 2 }, () => 'blobs in memory are sent without sendfile'),
      )
    }
  })

  test('what is sent out of one has left when the call returns: its number may be that of another file then', async () => {
    const { logger } = recordingLogger()
    const sendfile = await loaded()
    using files = new SentMemoryFiles(sendfile, logger)
    const file = files.create(content)
    await using listener = await listen(async () => ({ status: 200, headers: {} }), {
      host: '127.0.0.1',
      port: 0,
      logger,
    })
    const socket = connect(listener.port, '127.0.0.1')
    await once(socket, 'connect')
    using connection = sendfile.loaded?.connect(socket)
    assert.ok(file !== undefined && connection !== undefined)
    const sent = connection.send(file, 0, 1000)
    file[Symbol.dispose]()
    assert.equal(await sent, 1000)
    socket.destroy()
  })

  test('P1: clients who take, who wait and who leave: each gets its bytes, in order', async () => {
    const { logger, lines } = recordingLogger()
    const sendfile = await loaded()
    using files = new SentMemoryFiles(sendfile, logger)
    const file = files.create(content)
    assert.ok(file !== undefined)
    await using listener = await listen(
      async ({ path }) => {
        const [start = 0, end = size] = path.slice(1).split('-').map(Number)
        const body = new MemoryFileStream(file, { start, end })
        return { status: 200, headers: { 'content-length': end - start }, body }
      },
      { host: '127.0.0.1', port: 0, logger, sendfile },
    )
    const parts = [
      [0, size],
      [1, size],
      [300_000, 900_000],
      [0, 1000],
    ] as const
    const times = 8
    const client = async (isSlow: boolean): Promise<void> => {
      const socket = connect(listener.port, '127.0.0.1')
      await once(socket, 'connect')
      for (let time = 0; time < times; time++) {
        for (const [start, end] of parts) socket.write(`GET /${start}-${end} HTTP/1.1\r\nhost: a\r\n\r\n`)
      }
      let come = Buffer.alloc(0)
      let answers = 0
      for await (const chunk of socket) {
        come = Buffer.concat([come, chunk])
        for (;;) {
          const head = come.indexOf('\r\n\r\n') + 4
          const length = Number(/content-length: (\d+)/i.exec(come.toString('latin1', 0, head))?.[1])
          if (head < 4 || come.byteLength < head + length) break
          const [start, end] = parts[answers % parts.length] ?? [0, 0]
          assert.ok(come.subarray(head, head + length).equals(content.subarray(start, end)))
          come = come.subarray(head + length)
          answers += 1
        }
        if (answers === times * parts.length) break
        if (isSlow) for (let step = 0; step < 20; step++) await turn()
      }
      assert.equal(answers, times * parts.length)
    }
    const leaver = async (): Promise<void> => {
      const socket = connect(listener.port, '127.0.0.1')
      socket.write('GET /0-1048576 HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(20))
      await once(socket, 'readable')
      socket.destroy()
    }
    await Promise.all([client(false), client(true), leaver(), client(true), leaver()])
    assert.ok(lines.every(({ msg }) => msg === 'request' || msg === 'request aborted'))
  })
})

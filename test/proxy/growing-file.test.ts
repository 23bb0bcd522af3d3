// A blob that is on its way, sent out of the file that it is being written to.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred } from '../../src/async/deferred.ts'
import { News } from '../../src/async/news.ts'
import type { ByteTarget, SendableFile } from '../../src/bytes/stream.ts'
import { DriverError } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { loadSendfile } from '../../src/http/sendfile.ts'
import { blobDescriptor } from '../../src/oci/descriptor.ts'
import { Fill } from '../../src/proxy/fill.ts'
import { GrowingFileTarget, NoFileError } from '../../src/proxy/growing-file.ts'
import { StorageTrouble } from '../../src/proxy/storage-trouble.ts'
import type { ContentStore } from '../../src/registry/registry.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { bytesRead } from '../support/bytes-read.ts'
import { open, pull, pullSlowAndFast, readExactly } from '../support/client.ts'
import { watchedDriver, type DriverCall } from '../support/faulty-driver.ts'
import { lightPull } from '../support/light-client.ts'
import { pauseAfter, randomBlob, startOrigin, type Origin } from '../support/origin.ts'
import { startProxyUnderTest, until, type ProxyUnderTest } from '../support/proxy-under-test.ts'
import { streamOf } from '../support/stream-of.ts'

const mebibyte = 1024 * 1024

/** A mirror with its files on the disk, which has sent one large answer and so knows how to send more. */
async function startMirror(origin: Origin, before: (call: DriverCall) => void = () => {}): Promise<ProxyUnderTest> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  const driver = watchedDriver(filesystemDriver({ rootDirectory: folder.path }), before)
  const mirror = opening.use(await startProxyUnderTest(origin, { driver, idle: 300_000 }))
  await loadSendfile()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('first', bytes)
  assert.equal((await pull(`${mirror.url}/v2/first/blobs/${digest}`)).digest, digest)
  await mirror.until(({ msg }) => msg === 'request') // what it learns from an answer it learns before the line
  const all = opening.move()
  return { ...mirror, [Symbol.asyncDispose]: async () => await all.disposeAsync() }
}

suite('a growing file', { skip: process.platform !== 'linux' && 'only Linux is asked' }, () => {
  test('P4, P7: clients early and late make one transfer, and the file is not read for them', async () => {
    await using origin = await startOrigin()
    await using mirror = await startMirror(origin)
    const { bytes, digest } = randomBlob(24 * mebibyte)
    await origin.addBlob('app', bytes)
    const gate = deferred()
    origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(12 * mebibyte, gate.promise) : undefined)
    const url = `${mirror.url}/v2/app/blobs/${digest}`
    const read = await bytesRead(async () => {
      const early = Array.from({ length: 20 }, () => lightPull(url))
      await Promise.all(early.map(async ({ firstByte }) => await firstByte))
      const whole = await open(url)
      assert.deepEqual(await readExactly(whole, 12 * mebibyte), bytes.subarray(0, 12 * mebibyte), 'what has come')
      const part = await open(url, { range: `bytes=${mebibyte}-${23 * mebibyte}` })
      assert.deepEqual(await readExactly(part, 11 * mebibyte), bytes.subarray(mebibyte, 12 * mebibyte))
      const late = Array.from({ length: 20 }, () => lightPull(url))
      gate.resolve()
      for (const { done } of [...early, ...late]) assert.equal((await done).digest, digest)
      assert.deepEqual(await readExactly(whole, 12 * mebibyte), bytes.subarray(12 * mebibyte))
      assert.deepEqual(await readExactly(part, 11 * mebibyte + 1), bytes.subarray(12 * mebibyte, 23 * mebibyte + 1))
    })
    assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`), bytes.length)
    assert.ok(read < 8 * mebibyte, `${read} bytes were read for 42 clients`)
  })

  test('P1: the last byte waits for the digest, also of a range', async () => {
    await using origin = await startOrigin()
    await using mirror = await startMirror(origin)
    const { bytes, digest } = randomBlob(4 * mebibyte)
    await origin.addBlob('app', bytes)
    const gate = deferred()
    origin.dial = () => pauseAfter(bytes.length - 1, gate.promise)
    const url = `${mirror.url}/v2/app/blobs/${digest}`
    const whole = await open(url)
    await readExactly(whole, bytes.length - 2)
    const part = await open(url, { range: `bytes=0-${3 * mebibyte - 1}` })
    assert.deepEqual(await readExactly(part, 3 * mebibyte - 1), bytes.subarray(0, 3 * mebibyte - 1))
    for (let turns = 0; turns < 50; turns++) await turn()
    assert.equal(part.readableLength, 0)
    assert.deepEqual([whole.complete, part.complete], [false, false])
    gate.resolve()
    assert.deepEqual(await readExactly(part, 1), bytes.subarray(3 * mebibyte - 1, 3 * mebibyte))
    await readExactly(whole, 1)
    whole.destroy()
  })

  test('P1: wrong bytes are never a complete answer', async () => {
    await using origin = await startOrigin()
    await using mirror = await startMirror(origin)
    const { bytes, digest } = randomBlob(4 * mebibyte)
    await origin.addBlob('app', bytes)
    let come = 0
    origin.dial = () => ({
      async *body(body) {
        for await (const chunk of body) {
          come += chunk.byteLength
          yield come === bytes.length ? Buffer.from(chunk).fill(7) : chunk
        }
      },
    })
    const url = `${mirror.url}/v2/app/blobs/${digest}`
    const answers = await Promise.all([pull(url), pull(url), pull(url, { range: 'bytes=0-2000000' })])
    for (const { complete, status } of answers) assert.deepEqual([complete, status >= 200], [false, true])
    origin.dial = () => undefined
    assert.equal((await pull(url)).digest, digest)
  })

  test('T-31: a disk that fills up in the middle costs the copy, not the answers', async () => {
    await using origin = await startOrigin()
    const { bytes, digest } = randomBlob(24 * mebibyte)
    await origin.addBlob('app', bytes)
    let written = 0
    await using mirror = await startMirror(origin, ({ method, path }) => {
      if (
        path.startsWith('/entrepot/fills/') &&
        path.includes(digest.slice(7)) &&
        method === 'append' &&
        ++written > 20
      ) {
        throw new DriverError('ENOSPC', 'full')
      }
    })
    assert.deepEqual(await pullSlowAndFast(`${mirror.url}/v2/app/blobs/${digest}`), [digest, digest])
    assert.ok(written > 20)
    assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`), bytes.length)
  })

  test('T-31: who waits for the file hears at once that nothing more will be written to it', async () => {
    await using origin = await startOrigin()
    const { bytes, digest } = randomBlob(16 * mebibyte)
    await origin.addBlob('app', bytes)
    let isFull = false
    await using mirror = await startMirror(origin, ({ method, path }) => {
      if (isFull && path.startsWith('/entrepot/fills/') && method === 'append') throw new DriverError('ENOSPC', 'full')
    })
    const gate = deferred()
    origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(8 * mebibyte, gate.promise) : undefined)
    const answer = await open(`${mirror.url}/v2/app/blobs/${digest}`)
    await readExactly(answer, 8 * mebibyte)
    isFull = true
    gate.resolve()
    assert.deepEqual(await readExactly(answer, 8 * mebibyte), bytes.subarray(8 * mebibyte))
  })

  test('T-10: who waits for the file is cut off with the transfer', { timeout: 20_000 }, async () => {
    await using origin = await startOrigin()
    await using mirror = await startMirror(origin)
    const { bytes, digest } = randomBlob(16 * mebibyte)
    await origin.addBlob('app', bytes)
    const gate = deferred()
    const first = pauseAfter(8 * mebibyte, gate.promise)
    origin.dial = ({ headers }) => (headers.range === undefined ? first : pauseAfter(0, gate.promise))
    const answer = await open(`${mirror.url}/v2/app/blobs/${digest}`)
    await readExactly(answer, 8 * mebibyte)
    gate.reject(new Error('cut'))
    await assert.rejects(readExactly(answer, 1))
  })

  test('a file that cannot be read back costs those who are with the bytes as they come nothing', async () => {
    await using origin = await startOrigin()
    const { bytes, digest } = randomBlob(2 * mebibyte) // which memory has, all of it
    await origin.addBlob('app', bytes)
    let refused = 0
    await using mirror = await startMirror(origin, ({ method, path }) => {
      if (method !== 'chunk' || !path.startsWith('/entrepot/fills/') || !path.includes(digest.slice(7))) return
      refused += 1
      throw new DriverError('EIO', 'broken')
    })
    const gate = deferred()
    origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(mebibyte, gate.promise) : undefined)
    const answer = pull(`${mirror.url}/v2/app/blobs/${digest}`)
    await until(() => refused > 0)
    gate.resolve()
    assert.equal((await answer).digest, digest)
    assert.equal(refused, 1, 'not tried again for what memory has')
  })

  test('P4: whoever leaves in the middle does not touch the others', async () => {
    await using origin = await startOrigin()
    await using mirror = await startMirror(origin)
    const { bytes, digest } = randomBlob(16 * mebibyte)
    await origin.addBlob('app', bytes)
    const gate = deferred()
    origin.dial = ({ method }) => (method === 'GET' ? pauseAfter(8 * mebibyte, gate.promise) : undefined)
    const url = `${mirror.url}/v2/app/blobs/${digest}`
    const leaver = await open(url)
    const other = await open(url)
    await readExactly(other, 8 * mebibyte)
    await readExactly(leaver, 8 * mebibyte)
    leaver.destroy() // while it waits for more
    while (!mirror.lines.some(({ msg }) => msg === 'request aborted')) await turn()
    assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`), 8 * mebibyte, 'nothing else had to wake it')
    gate.resolve()
    assert.deepEqual(await readExactly(other, 8 * mebibyte), bytes.subarray(8 * mebibyte))
  })
})

const file: SendableFile = { fd: 1, isInMemory: false }

/** A target that takes at most `most` bytes of a file at once. */
function recordingTarget(most: number): ByteTarget & { readonly calls: (readonly [string, number, number])[] } {
  const calls: (readonly [string, number, number])[] = []
  return {
    calls,
    sendFile: async (_, position, length) => {
      const taken = Math.min(most, length)
      calls.push(['sent', position, taken])
      return taken
    },
    write: async (bytes) => void calls.push(['written', 0, bytes.byteLength]),
  }
}

test('only what is there is asked for, and the next is waited for', async () => {
  const news = new News()
  let there: number | undefined = 100
  let at = 10
  const target = recordingTarget(Infinity)
  const growing = new GrowingFileTarget(
    target,
    { there: () => there, news: async () => await news.next(), onTaken: (count) => (at += count) },
    at,
  )
  const sent = growing.sendFile(file, 10, 190)
  while (target.calls.length < 1) await turn()
  there = 150
  news.tell()
  while (target.calls.length < 2) await turn()
  there = 400
  news.tell()
  assert.equal(await sent, 190)
  assert.deepEqual(target.calls, [
    ['sent', 10, 90],
    ['sent', 100, 50],
    ['sent', 150, 50],
  ])
  assert.equal(at, 200)
  there = undefined
  await assert.rejects(growing.sendFile(file, 200, 10), NoFileError)
  await assert.rejects(growing.write(Buffer.alloc(1)), NoFileError)
})

test('P1: of what was read too far no byte leaves before it may', async () => {
  const news = new News()
  let there = 3
  const target = recordingTarget(1)
  const growing = new GrowingFileTarget(
    target,
    { there: () => there, news: async () => await news.next(), onTaken: () => {} },
    0,
  )
  assert.equal(await growing.sendFile(file, 0, 10), 1, 'the system takes no more')
  const written = growing.write(Buffer.alloc(9))
  while (target.calls.length < 2) await turn()
  assert.deepEqual(target.calls[1], ['written', 0, 2])
  there = 10
  news.tell()
  await written
  assert.deepEqual(target.calls[2], ['written', 0, 7])
})

test('who waits for the digest hears at once that it is right, and not when the blob is in its place', async () => {
  const { bytes, digest } = randomBlob(2 * mebibyte)
  const [written, committed] = [deferred(), deferred()]
  const { signal } = new AbortController()
  const fill = new Fill({
    digest,
    content: storeUntil(written.promise, committed.promise),
    from: {
      stat: unused,
      fetch: async () => ({
        host: 'up',
        size: bytes.length,
        start: 0,
        end: bytes.length,
        validator: undefined,
        body: streamOf(bytes),
      }),
    },
    host: 'up',
    settings: { connections: 1, minSize: Infinity, retries: 0, patience: 1000 },
    parallel: { take: () => false, give: () => {} },
    trouble: new StorageTrouble(silentLogger),
    attempt: 0,
    isFresh: false,
    onResume: () => {},
    onWrong: () => {},
    onEnd: () => {},
    logger: silentLogger,
    signal,
  })
  const run = fill.run()
  const { body } = await fill.follow()
  let taken = 0
  const sent = body.transferTo?.({
    sendFile: async (_, __, length) => {
      taken += length
      return length
    },
    write: async (chunk) => void (taken += chunk.byteLength),
  })
  while (taken < bytes.length - 1) await turn()
  for (let turns = 0; turns < 10; turns++) await turn()
  assert.equal(taken, bytes.length - 1)
  written.resolve()
  await sent
  assert.equal(taken, bytes.length)
  committed.resolve()
  assert.equal((await run)?.size, bytes.length)
})

const unused = async (): Promise<never> => assert.fail('not asked for')

/** A store that says at once that bytes are written, and ends writing, and committing, when it is told to. */
function storeUntil(written: Promise<void>, committed: Promise<void>): ContentStore {
  return {
    stat: unused,
    find: unused,
    open: unused,
    hold: () => ({ [Symbol.dispose]: () => {} }),
    receive: async ({ digester }) => {
      let size = 0
      return {
        id: '' as UploadId,
        startedAt: new Date(),
        get size() {
          return size
        },
        async append(source, options) {
          for await (const chunk of source) {
            digester?.update(chunk)
            size += chunk.byteLength
          }
          options?.onWritten?.()
          await written
        },
        open: async ({ start, end }) => ({
          ...streamOf(),
          transferTo: async (target) => void (await target.sendFile(file, start, end - start)),
        }),
        verify: unused,
        async commit(digest) {
          await committed
          return blobDescriptor(digest, size)
        },
        close: unused,
        abort: async () => {},
        [Symbol.asyncDispose]: async () => {},
      }
    },
  }
}

// A reader of a fill by itself: what it holds, and when the fill hears of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred, type Deferred } from '../../src/async/deferred.ts'
import { News } from '../../src/async/news.ts'
import { collect, type ByteStream, type ByteTarget } from '../../src/bytes/stream.ts'
import { resolveRange } from '../../src/bytes/range.ts'
import { DriverError } from '../../src/drivers/driver.ts'
import { blobDescriptor } from '../../src/oci/descriptor.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { FillReader, type Progress, type Reader } from '../../src/proxy/fill-reader.ts'
import { RecentBytes } from '../../src/proxy/recent-bytes.ts'
import { Spool } from '../../src/proxy/spool.ts'
import type { ContentStore } from '../../src/registry/registry.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { randomBlob } from '../support/origin.ts'
import { streamOf } from '../support/stream-of.ts'

const unused = async (): Promise<never> => assert.fail('not asked for')

/** A reader of ten bytes, none of which has come. `file`: what is in the file already, which cannot be written to. */
function readerUnderTest(file?: ByteStream): {
  readonly content: ContentStore
  readonly digest: Digest
  readonly body: FillReader
  readonly progress: Progress
  readonly controller: AbortController
  readonly reader: Reader
  readonly stored: Deferred<void>
  /** What has been let go of, in order. */
  readonly ended: string[]
} {
  const ended: string[] = []
  const controller = new AbortController()
  const stored = deferred()
  const content: ContentStore = {
    stat: unused,
    find: unused,
    open: unused,
    receive: async () => ({
      id: '' as UploadId,
      startedAt: new Date(),
      size: 5,
      append: async () => await Promise.reject(new Error('full')),
      open: async () => file ?? (await unused()),
      verify: unused,
      commit: unused,
      close: unused,
      abort: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }),
    hold: () => ({ [Symbol.dispose]: () => void ended.push('hold') }),
  }
  const progress: Progress = {
    recent: new RecentBytes(10),
    received: 0,
    spool: undefined,
    isVerified: false,
    failure: undefined,
    stored: stored.promise,
    news: new News(),
    written: new News(),
  }
  const { digest } = randomBlob(10)
  const reader: Reader = { at: 0, isCut: false }
  const body = new FillReader({
    digest,
    content,
    progress,
    reader,
    range: { start: 0, end: 10 },
    signal: controller.signal,
    onLeave: () => void (ended.includes('place') || ended.push('place')),
  })
  return { body, progress, controller, reader, stored, content, digest, ended }
}

test('P4: a reader that is disposed while it waits leaves at once, and ends with its signal, not with the fill', async () => {
  const { body, controller, ended } = readerUnderTest()
  const waiting = assert.rejects(async () => await body[Symbol.asyncIterator]().next(), /enough/)
  const disposed = body[Symbol.asyncDispose]()
  assert.deepEqual(ended, ['place'], 'the blob is held for as long as it may be read')
  controller.abort(new Error('enough'))
  await waiting
  await disposed
  assert.deepEqual(ended, ['place', 'hold'])
})

test('a reader that never begins holds nothing once it is disposed', async () => {
  const { body, ended } = readerUnderTest()
  await body[Symbol.asyncDispose]()
  assert.deepEqual(ended, ['place', 'hold'])
})

test('a transfer that fails holds nothing any more', async () => {
  const { body, controller, ended } = readerUnderTest()
  controller.abort(new Error('enough'))
  const target: ByteTarget = { sendFile: async () => 0, write: async () => {} }
  await assert.rejects(body.transferTo(target), /enough/)
  assert.deepEqual(ended, ['place', 'hold'])
})

test('a fill whose storage has failed hears of what was sent out of the file before', async () => {
  const file: ByteStream = {
    async *[Symbol.asyncIterator]() {},
    [Symbol.asyncDispose]: async () => {},
    transferTo: async (to) => void (await to.sendFile({ fd: 0, isInMemory: false }, 0, 10)),
  }
  const { body, progress, controller, content, digest } = readerUnderTest(file)
  const { signal } = controller
  const spool = await Spool.open({ digest, content, isFresh: true, signal, onFailure: () => {}, onWritten: () => {} })
  progress.spool = spool
  progress.received = 10
  progress.recent = new RecentBytes(10, 5)
  progress.recent.push(Buffer.alloc(5))
  const heard: string[] = []
  await assert.rejects(
    body.transferTo({
      async sendFile(_, __, length) {
        await spool.append((async function* () {})())
        void progress.news.next().then(() => heard.push('how far it is'))
        return length
      },
      async write() {
        await turn()
        heard.push('what comes from memory')
        controller.abort(new Error('enough'))
      },
    }),
    /enough/,
  )
  assert.deepEqual(heard, ['how far it is', 'what comes from memory'])
})

test('who is no longer waited for hears so when it goes on, and gets nothing more', async () => {
  const { body, progress, reader } = readerUnderTest()
  progress.recent.push(Buffer.alloc(10))
  progress.received = 10
  reader.isCut = true
  await assert.rejects(collect(body, 10), /took nothing for too long/)
  assert.equal(reader.at, 0)
})

test('who wants what is neither in memory nor in a file hears at once why', { timeout: 10_000 }, async () => {
  const { body, progress, controller, content, digest } = readerUnderTest()
  const { signal } = controller
  const receive = async (): Promise<never> => await Promise.reject(new Error('full'))
  const store = { ...content, receive }
  const options = { digest, content: store, isFresh: true, signal, onFailure: () => {}, onWritten: () => {} }
  progress.spool = await Spool.open(options)
  progress.recent = new RecentBytes(10, 5)
  progress.recent.push(Buffer.alloc(5))
  progress.received = 10
  await assert.rejects(collect(body, 10), /full/)
})

test('a fill that waits for its readers hears who waits for nothing but its end', { timeout: 10_000 }, async () => {
  const { bytes } = randomBlob(10)
  const { body, progress, controller, content, digest, reader } = readerUnderTest()
  const { signal } = controller
  const store: ContentStore = {
    ...content,
    receive: async (options) => ({
      ...(await content.receive(options)),
      size: 10,
      open: async ({ start, end }) => {
        await turn() // meanwhile the fill has heard of what was read before
        return streamOf(bytes.subarray(start, end))
      },
    }),
  }
  const options = { digest, content: store, isFresh: true, signal, onFailure: () => {}, onWritten: () => {} }
  progress.spool = await Spool.open(options)
  await progress.spool.append((async function* () {})()) // storage fails
  progress.recent = new RecentBytes(10, 10)
  progress.received = 10
  const heard = (async (): Promise<void> => {
    while (reader.at < 10) await progress.news.next()
  })()
  const read = collect(body, 10)
  await heard
  progress.isVerified = true
  progress.news.tell()
  assert.deepEqual(await read, bytes)
})

test('who is behind, while the file goes to its place, goes on from there', async () => {
  const { bytes } = randomBlob(10)
  const moved = deferred()
  const { body, progress, controller, content, digest, stored } = readerUnderTest()
  const { signal } = controller
  const store: ContentStore = {
    ...content,
    receive: async (options) => {
      const upload = await content.receive(options)
      const open = async (): Promise<never> => {
        moved.resolve()
        throw new DriverError('ENOENT', 'no such file')
      }
      return { ...upload, size: 10, open }
    },
  }
  content.open = async (_, options) => {
    const { start, end } = resolveRange(options?.range ?? { start: 0 }, 10)
    return { descriptor: blobDescriptor(digest, 10), range: { start, end }, body: streamOf(bytes.subarray(start, end)) }
  }
  const options = { digest, content: store, isFresh: true, signal, onFailure: () => {}, onWritten: () => {} }
  progress.spool = await Spool.open(options)
  progress.recent = new RecentBytes(10, 10)
  progress.received = 10
  progress.isVerified = true
  const read = collect(body, 10)
  read.catch(() => {}) // seen below
  await moved.promise
  stored.resolve()
  assert.deepEqual(await read, bytes)
})

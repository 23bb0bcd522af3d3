// A reader of a fill by itself: what it holds, and when the fill hears of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred } from '../../src/async/deferred.ts'
import { News } from '../../src/async/news.ts'
import type { ByteStream, ByteTarget } from '../../src/bytes/stream.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { FillReader, type Progress } from '../../src/proxy/fill-reader.ts'
import { RecentBytes } from '../../src/proxy/recent-bytes.ts'
import { Spool } from '../../src/proxy/spool.ts'
import type { ContentStore } from '../../src/registry/registry.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { randomBlob } from '../support/origin.ts'

const unused = async (): Promise<never> => assert.fail('not asked for')

/** A reader of ten bytes, none of which has come. `file`: what is in the file already, which cannot be written to. */
function readerUnderTest(file?: ByteStream): {
  readonly content: ContentStore
  readonly digest: Digest
  readonly body: FillReader
  readonly progress: Progress
  readonly controller: AbortController
  /** What has been let go of, in order. */
  readonly ended: string[]
} {
  const ended: string[] = []
  const controller = new AbortController()
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
    stored: deferred().promise,
    news: new News(),
    written: new News(),
  }
  const { digest } = randomBlob(10)
  const body = new FillReader({
    digest,
    content,
    progress,
    reader: { at: 0, isCut: false },
    range: { start: 0, end: 10 },
    signal: controller.signal,
    onLeave: () => void (ended.includes('place') || ended.push('place')),
  })
  return { body, progress, controller, content, digest, ended }
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

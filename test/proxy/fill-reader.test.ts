// A reader of a fill by itself: what it holds, and when the fill hears of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { News } from '../../src/async/news.ts'
import type { ByteTarget } from '../../src/bytes/stream.ts'
import { FillReader, type Progress } from '../../src/proxy/fill-reader.ts'
import { RecentBytes } from '../../src/proxy/recent-bytes.ts'
import type { ContentStore } from '../../src/registry/registry.ts'
import { randomBlob } from '../support/origin.ts'

/** A reader of ten bytes, none of which has come. */
function readerUnderTest(): {
  readonly body: FillReader
  readonly progress: Progress
  readonly controller: AbortController
  /** What has been let go of, in order. */
  readonly ended: string[]
} {
  const ended: string[] = []
  const controller = new AbortController()
  const unused = async (): Promise<never> => assert.fail('not asked for')
  const content: ContentStore = {
    stat: unused,
    find: unused,
    open: unused,
    receive: unused,
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
  const body = new FillReader({
    digest: randomBlob(10).digest,
    content,
    progress,
    reader: { at: 0, isCut: false },
    range: { start: 0, end: 10 },
    signal: controller.signal,
    onLeave: () => void (ended.includes('place') || ended.push('place')),
  })
  return { body, progress, controller, ended }
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

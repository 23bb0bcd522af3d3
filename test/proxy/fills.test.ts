// The running fills by themselves: which is the one of a digest, and how they end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred } from '../../src/async/deferred.ts'
import type { ByteStream } from '../../src/bytes/stream.ts'
import { Fills } from '../../src/proxy/fills.ts'
import { Spool } from '../../src/proxy/spool.ts'
import { StorageTrouble } from '../../src/proxy/storage-trouble.ts'
import type { ContentStore } from '../../src/registry/registry.ts'
import type { BlobStore, Upload, UploadId } from '../../src/registry/store.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { randomBlob } from '../support/origin.ts'

const mebibyte = 1024 * 1024

const unused = async (): Promise<never> => assert.fail('not asked for')

const blobs: BlobStore = { stat: unused, open: unused, put: unused, link: unused, delete: unused }

/** Of which nothing is wanted but to go. */
const unusedUpload: Upload = {
  id: '' as UploadId,
  startedAt: new Date(),
  size: 0,
  append: unused,
  open: unused,
  verify: unused,
  commit: unused,
  close: unused,
  abort: async () => {},
  [Symbol.asyncDispose]: async () => {},
}

/** A store that can take nothing. */
const fullStore: ContentStore = {
  stat: unused,
  find: unused,
  open: unused,
  hold: () => ({ [Symbol.dispose]: () => {} }),
  receive: async () => await Promise.reject(new Error('full')),
}

function makeFills(signal: AbortSignal, content = fullStore): Fills {
  return new Fills({
    content,
    settings: { connections: 1, minSize: Infinity, retries: 0, patience: 60_000 },
    trouble: new StorageTrouble(silentLogger),
    cacheLog: undefined,
    logger: silentLogger,
    signal,
  })
}

/** An upstream's blob, as it answers. */
function orderOf(size: number, body: ByteStream): Parameters<Fills['start']>[1] {
  const answer = { host: 'up', size, start: 0, end: size, validator: undefined, body }
  return { from: { stat: unused, fetch: async () => answer }, host: 'up', repository: 'app', blobs }
}

test(
  'P4: the end of a fill that nobody could join any more is not that of the one that has come after it',
  { timeout: 10_000 },
  async () => {
    const { bytes, digest } = randomBlob(3 * mebibyte)
    const due = deferred()
    const never = new AbortController()
    const taken = { bytes: 0 }
    const slow: ByteStream = {
      async *[Symbol.asyncIterator]() {
        for (let at = 0; at < bytes.length - 1; at += 65_536) {
          yield bytes.subarray(at, Math.min(at + 65_536, bytes.length - 1))
          while (taken.bytes < at) await turn() // who keeps up lets them go
        }
        await due.promise
        yield bytes.subarray(bytes.length - 1)
      },
      async [Symbol.asyncDispose]() {},
    }
    const fills = makeFills(never.signal)
    const first = fills.start(digest, orderOf(bytes.length, slow))
    const { body } = await first.follow()
    const reading = (async (): Promise<void> => {
      for await (const chunk of body) taken.bytes += chunk.byteLength
    })()
    while (fills.find(digest) !== undefined) await turn() // its first bytes are gone, and nothing has them
    const end = deferred<never>()
    const from = { stat: unused, fetch: async () => await end.promise }
    const second = fills.start(digest, { ...orderOf(0, slow), from })
    due.resolve()
    await reading
    while (fills.counts().passedThrough === 0) await turn()
    assert.equal(fills.find(digest), second)
    end.reject(new Error('enough'))
    await fills[Symbol.asyncDispose]()
  },
)

test('whoever disposes of them hears when they are gone with all they held', async () => {
  const { digest } = randomBlob(10)
  const stop = new AbortController()
  const asked = deferred()
  const gone = deferred()
  const aborted = deferred()
  const upload: Upload = {
    ...unusedUpload,
    append: async () => {
      asked.resolve()
      await new Promise((_, reject) => stop.signal.addEventListener('abort', () => reject(new Error('stopped'))))
    },
    abort: async () => {
      aborted.resolve()
      await gone.promise
    },
  }
  const fills = makeFills(stop.signal, { ...fullStore, receive: async () => upload })
  const body = { async *[Symbol.asyncIterator]() {}, async [Symbol.asyncDispose]() {} }
  fills.start(digest, orderOf(10, body))
  await asked.promise
  stop.abort(new Error('the registry is shutting down'))
  let isOver = false
  const disposal = fills[Symbol.asyncDispose]().then(() => (isOver = true))
  await aborted.promise
  for (let turns = 0; turns < 5; turns++) await turn()
  assert.equal(isOver, false)
  gone.resolve()
  await disposal
})

test('P5: who hears that a fill cannot begin finds what was kept for the next', async () => {
  const { digest } = randomBlob(10)
  const keeping = deferred()
  const kept = deferred()
  const upload: Upload = {
    ...unusedUpload,
    size: 2 * mebibyte,
    close: async () => {
      keeping.resolve()
      await kept.promise
    },
  }
  const fills = makeFills(new AbortController().signal, { ...fullStore, receive: async () => upload })
  const fetch = async (): Promise<never> => await Promise.reject(new UpstreamError('unreachable', 'up', 'away'))
  const fill = fills.start(digest, { from: { stat: unused, fetch }, host: 'up', repository: 'app', blobs })
  let hasHeard = false
  const heard = assert.rejects(fill.follow(), /away/).then(() => (hasHeard = true))
  await keeping.promise
  for (let turns = 0; turns < 5; turns++) await turn()
  assert.equal(hasHeard, false)
  kept.resolve()
  await heard
})

test('what a shutdown breaks off is no failure of storage', async () => {
  const { digest } = randomBlob(10)
  const stop = new AbortController()
  const reason = new Error('the registry is shutting down')
  const upload: Upload = {
    ...unusedUpload,
    size: 10,
    commit: async () => {
      stop.abort(reason)
      throw new Error('aborted')
    },
  }
  await using spool = await Spool.open({
    digest,
    content: { ...fullStore, receive: async () => upload },
    isFresh: true,
    signal: stop.signal,
    onFailure: (error) => assert.fail(String(error)),
    onWritten: () => {},
  })
  await assert.rejects(spool.commit(), reason)
})

// One blob's bytes through several answers, by itself.
import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import { test } from 'node:test'
import timers from 'node:timers/promises'
import type { ByteStream } from '../../src/bytes/stream.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { openTransfer, type TransferOptions } from '../../src/proxy/transfer.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import type { FetchedBlob, UpstreamBlobs } from '../../src/registry/upstream-source.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { streamOf } from '../support/stream-of.ts'

function optionsWith(fetch: UpstreamBlobs['fetch'], retries = 0): TransferOptions {
  return {
    digest: digestOf('whatever'),
    from: { fetch, stat: () => assert.fail('not asked for') },
    start: 0,
    attempt: 0,
    settings: { connections: 1, minSize: 0, retries, patience: 60_000 },
    parallel: { take: () => false, give: () => {} },
    isWhole: () => false,
    onResume: () => {},
    logger: silentLogger,
    signal: new AbortController().signal,
  }
}

function answerOf(body: ByteStream, more: Partial<FetchedBlob> = {}): FetchedBlob {
  return { size: 20, start: 0, end: 20, host: 'up', validator: undefined, body, ...more }
}

test('P1: what has another version is not put behind what is here', async (context) => {
  const waits = context.mock.method(timers, 'setTimeout', async () => {})
  syncBuiltinESMExports()
  context.after(() => {
    waits.mock.restore()
    syncBuiltinESMExports()
  })
  const breaking: ByteStream = {
    async *[Symbol.asyncIterator]() {
      yield Buffer.alloc(10, 'a')
      throw new UpstreamError('unreachable', 'up', 'broke off')
    },
    async [Symbol.asyncDispose]() {},
  }
  const answers = [
    answerOf(breaking, { validator: 'one' }),
    answerOf(streamOf(Buffer.alloc(10, 'b')), { start: 10, validator: 'two' }),
  ]
  const fetch = async (): Promise<FetchedBlob> => answers.shift() ?? assert.fail('asked once more')
  await using transfer = await openTransfer(optionsWith(fetch, 1))
  const taken: string[] = []
  await assert.rejects(async () => {
    for await (const chunk of transfer.body) taken.push(Buffer.from(chunk).toString())
  }, /another version/)
  assert.equal(waits.mock.callCount(), 1)
  assert.deepEqual(taken, ['a'.repeat(10)])
})

test('an answer that nobody has begun to read is given up with its transfer', async () => {
  let isDisposed = false
  const body = { ...streamOf(Buffer.alloc(20)), [Symbol.asyncDispose]: async () => void (isDisposed = true) }
  const transfer = await openTransfer(optionsWith(async () => answerOf(body)))
  await transfer[Symbol.asyncDispose]()
  assert.equal(isDisposed, true)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect, ToldStream, TooLargeError, type ByteStream, type ByteTarget } from '../../src/bytes/stream.ts'
import { streamOf } from '../support/stream-of.ts'

test('collect copies chunks, which their source may reuse', async () => {
  const buffer = Buffer.from('ab')
  async function* reusing(): AsyncGenerator<Uint8Array, void> {
    yield buffer
    buffer.fill('c')
    yield buffer
  }
  assert.equal((await collect(reusing(), 10)).toString(), 'abcc')
})

test('collect stops a source that is larger than the limit', async () => {
  let released = false
  async function* endless(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) yield Buffer.alloc(1000)
    } finally {
      released = true
    }
  }
  await assert.rejects(collect(endless(), 4096), TooLargeError)
  assert.ok(released)
  assert.equal((await collect(streamOf(Buffer.from('a'), Buffer.from('b')), 2)).toString(), 'ab')
})

test('the end of a stream is told when all of it was taken, not where reading stops before', async () => {
  let ends = 0
  let disposed = 0
  const told = (): ToldStream => {
    const body = streamOf(Buffer.from('a'), Buffer.from('b'))
    const counted = {
      [Symbol.asyncIterator]: () => body[Symbol.asyncIterator](),
      [Symbol.asyncDispose]: async () => void disposed++,
    }
    return new ToldStream(counted, () => ends++)
  }
  assert.equal((await collect(told(), 2)).toString(), 'ab')
  assert.equal(ends, 1)
  for await (const _ of told()) break
  await told()[Symbol.asyncDispose]()
  assert.deepEqual({ ends, disposed }, { ends: 1, disposed: 1 })
})

test('a stream around another transfers where that one can, and tells the end then, too', async () => {
  let ends = 0
  const body = (transferTo?: ByteStream['transferTo']): ByteStream => ({
    [Symbol.asyncIterator]: () => streamOf()[Symbol.asyncIterator](),
    [Symbol.asyncDispose]: async () => {},
    transferTo,
  })
  assert.equal(new ToldStream(body(), () => ends++).transferTo, undefined)
  const target: ByteTarget = { sendFile: async () => 0, write: async () => {} }
  const taken: ByteTarget[] = []
  await new ToldStream(
    body(async (given) => void taken.push(given)),
    () => ends++,
  ).transferTo?.(target)
  assert.deepEqual(taken, [target])
  assert.equal(ends, 1)
  const broken = new ToldStream(
    body(async () => {
      throw new Error('broken')
    }),
    () => ends++,
  )
  await assert.rejects(async () => await broken.transferTo?.(target), /broken/)
  assert.equal(ends, 1)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect, TooLargeError } from '../../src/bytes/stream.ts'
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

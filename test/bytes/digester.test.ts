import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Digester, DigestMismatchError, digestOfStream, verified } from '../../src/bytes/digester.ts'
import { collect, streamOf, type ByteStream } from '../../src/bytes/stream.ts'
import { digestOf } from '../../src/oci/digest.ts'

suite('a running digest', () => {
  test('it can be asked at any time, and goes on', () => {
    const digester = new Digester()
    assert.equal(digester.digest(), digestOf(''))
    digester.update(Buffer.from('ab'))
    assert.equal(digester.digest(), digestOf('ab'))
    digester.update(Buffer.from('c'))
    assert.equal(digester.digest(), digestOf('abc'))
    assert.equal(digester.size, 3)
  })

  test('it knows sha512 too', async () => {
    const source = streamOf(Buffer.from('ab'), Buffer.from('c'))
    assert.equal(await digestOfStream(source, 'sha512'), digestOf('abc', 'sha512'))
  })
})

suite('a verified stream (P1)', () => {
  const parts = [Buffer.from('first'), Buffer.from('second'), Buffer.from('last')]
  const whole = Buffer.concat(parts)
  const digest = digestOf(whole)

  test('right bytes pass, and the match is known before the last chunk is handed out', async () => {
    const events: string[] = []
    const options = { digest, size: whole.byteLength, onMatch: () => void events.push('match') }
    for await (const chunk of verified(streamOf(...parts), options)) events.push(Buffer.from(chunk).toString())
    assert.deepEqual(events, ['first', 'second', 'match', 'last'])
  })

  test('the empty content passes', async () => {
    let matches = 0
    const options = { digest: digestOf(''), size: 0, onMatch: () => void matches++ }
    assert.equal((await collect(verified(streamOf(), options), 0)).byteLength, 0)
    assert.equal(matches, 1)
  })

  const wrong: readonly (readonly [what: string, chunks: readonly Buffer[]])[] = [
    ['changed', [Buffer.from('First'), Buffer.from('second'), Buffer.from('last')]],
    ['short', [Buffer.from('first'), Buffer.from('second')]],
    ['long', [...parts, Buffer.from('!')]],
    ['long in its last chunk', [Buffer.from('first'), Buffer.from('secondlast!')]],
    ['empty', []],
  ]
  for (const [what, chunks] of wrong) {
    test(`content that is ${what} fails, and never as if it were whole`, async () => {
      let mismatches = 0
      const onMismatch = async (): Promise<void> => void mismatches++
      const passed: Uint8Array[] = []
      await assert.rejects(async () => {
        for await (const chunk of verified(streamOf(...chunks), { digest, size: whole.byteLength, onMismatch })) {
          passed.push(Buffer.from(chunk))
        }
      }, DigestMismatchError)
      assert.equal(mismatches, 1)
      if (what === 'long') return // nothing after the right bytes is handed out
      assert.ok(Buffer.concat(passed).byteLength < whole.byteLength)
    })
  }

  test('leaving it, or never beginning it, releases the source', async () => {
    let released = 0
    const source = (): ByteStream => ({
      [Symbol.asyncIterator]: () => streamOf(...parts)[Symbol.asyncIterator](),
      [Symbol.asyncDispose]: async () => void released++,
    })
    const options = { digest, size: whole.byteLength }
    for await (const _ of verified(source(), options)) break
    assert.equal(released, 1)
    await verified(source(), options)[Symbol.asyncDispose]()
    assert.equal(released, 2)
    const iterator = verified(source(), options)[Symbol.asyncIterator]()
    await iterator.return?.()
    assert.equal(released, 3)
  })
})

import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Digester, digestOfStream } from '../../src/bytes/digester.ts'
import { streamOf } from '../support/stream-of.ts'
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

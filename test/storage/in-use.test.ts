import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred } from '../../src/async/deferred.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { InUse } from '../../src/storage/in-use.ts'

const digest = digestOf(Buffer.from('a'))

test('what is just being taken away is claimed when it is gone, and is nobody else’s to take away', async () => {
  const inUse = new InUse()
  const removed = deferred()
  const order: string[] = []
  const removal = inUse.whileUnused(digest, async () => {
    await removed.promise
    order.push('removed')
  })
  assert.equal(await inUse.whileUnused(digest, unused), undefined)
  const claim = inUse.claim(digest).then((hold) => {
    order.push('claimed')
    return hold
  })
  for (let turns = 0; turns < 5; turns++) await turn()
  removed.resolve()
  await removal
  using _ = await claim
  assert.deepEqual(order, ['removed', 'claimed'])
  assert.equal(await inUse.whileUnused(digest, unused), undefined)
})

test('who claims what could not be taken away has it all the same', async () => {
  const inUse = new InUse()
  const removal = inUse.whileUnused(digest, async () => await Promise.reject(new Error('busy')))
  const claim = inUse.claim(digest)
  await assert.rejects(removal, /busy/)
  {
    using _ = await claim
    assert.ok(inUse.has(digest))
  }
  assert.ok(!inUse.has(digest))
  assert.equal(await inUse.whileUnused(digest, async () => 'removed'), 'removed')
})

const unused = async (): Promise<never> => assert.fail('not asked for')

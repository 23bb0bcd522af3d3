import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred } from '../../src/async/deferred.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { InUse } from '../../src/storage/in-use.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { streamOf } from '../support/stream-of.ts'
import { manifestOf, name, openStore, otherName } from './fixture.ts'

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

test('whatever is about to be linked cannot be taken away to make room', async () => {
  const linking: [what: string, isInUse: boolean][] = []
  let what = ''
  let target = digest
  const driver = watchedDriver(inMemoryDriver(), ({ method, path }) => {
    if (method === 'write' && path.endsWith('/link')) linking.push([what, store.isInUse(target)])
  })
  const store = openStore(driver)
  const [one, other] = [store.repository(name), store.repository(otherName)]
  const link = async (said: string, bytes: Buffer, task: () => Promise<unknown>): Promise<void> => {
    what = said
    target = digestOf(bytes)
    await task()
    assert.ok(!store.isInUse(target), said)
  }
  const [small, large, manifest] = [Buffer.from('small'), Buffer.from('large'), manifestOf('a')]
  await link('put', small, async () => await one.blobs.put(small))
  await link('pushed', large, async () => {
    await using upload = await one.uploads.create()
    await upload.append(streamOf(large))
    await upload.commit(digestOf(large))
  })
  await link('mounted', large, async () => await other.blobs.link(digestOf(large)))
  await link('manifest', manifest, async () => await one.manifests.put(manifest))
  assert.deepEqual(
    linking,
    ['put', 'pushed', 'mounted', 'manifest'].map((each) => [each, true]),
  )
})

const unused = async (): Promise<never> => assert.fail('not asked for')

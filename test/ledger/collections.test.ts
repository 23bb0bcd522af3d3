// Eviction beside collections of garbage: these take links out of the tree for a moment, and remove content themselves.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { collectGarbage } from '../../src/storage/garbage/collect.ts'
import { recover, SetAside } from '../../src/storage/garbage/set-aside.ts'
import { linkPath } from '../../src/storage/layout.ts'
import { happening } from '../support/faulty-driver.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { blobBytes, isHere, layerOf, makeKept, start, storeImage, type Kept } from './fixture.ts'

const hour = 60 * 60_000
const hosted = parseRepositoryName('local/app')
const layer = layerOf('precious')
const link = linkPath(hosted, 'blobs', digestOf(layer))

async function logged(kept: Kept, message: string): Promise<void> {
  while (!kept.lines.some(({ msg }) => msg === message)) await new Promise(setImmediate)
}

suite('eviction beside collections of garbage', () => {
  test('P3: nothing is evicted by a survey that began while links were set aside', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    await kept.repository('local/app').blobs.put(layer)
    await kept[Symbol.asyncDispose]()
    const driver = filesystemDriver({ rootDirectory: folder })
    const aside = await SetAside.begin(driver)
    await aside.take(link)
    await using again = start(folder, clocks, { maxSize: 1_000_000 })
    await logged(again, 'nothing is evicted while garbage is collected')
    await recover(driver, Date.now() + hour)
    clocks.pass(2 * hour)
    assert.ok(!again.lines.some(({ msg }) => msg === 'survey of the storage done' || msg === 'evicted'))
    assert.ok(await isHere(again.repository('local/app').blobs.stat(digestOf(layer))))
  })

  test('P3: nor by one that had a collection beside it from its beginning to its end', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    await kept.repository('local/app').blobs.put(layer)
    await kept[Symbol.asyncDispose]()
    const real = filesystemDriver({ rootDirectory: folder })
    // It is seen neither before nor after the survey; its link is out of its place when the survey looks there.
    const aside = happening(
      real,
      ({ method, path }) => method === 'list' && path.endsWith('/_layers/sha256'),
      async () => {
        await collectGarbage({
          driver: real,
          descriptors: descriptorCache(openFactStore({ kind: 'none' }, silentLogger)),
          grace: hour,
          dryRun: false,
          deleteUntagged: false,
        })
      },
    )
    await using again = start(folder, clocks, { maxSize: 1_000_000, driver: aside.driver })
    await logged(again, 'nothing is evicted while garbage is collected')
    assert.ok(aside.hasHappened())
    assert.ok(!again.lines.some(({ msg }) => msg === 'survey of the storage done'))
  })

  test('P3: a link that nobody told of is known once a client was told that it is there', async () => {
    await using made = await makeKept({ maxSize: 1_000_000 })
    const { folder, clocks, kept } = made
    const other = parseRepositoryName('local/other')
    await kept.repository(other).blobs.put(layer)
    await kept.store.discardable(other).blobs.delete(digestOf(layer))
    await filesystemDriver({ rootDirectory: folder }).write(link, Buffer.from(digestOf(layer)))
    await kept.repository('local/app').blobs.stat(digestOf(layer), { renew: true })
    clocks.pass(2 * hour)
    await kept.evictor.run()
    assert.equal(await blobBytes(folder), 10_000)
  })

  test('what a collection has removed is not made room for a second time', async () => {
    await using made = await makeKept({ maxSize: 100_000 })
    const { folder, clocks, kept } = made
    for (let number = 0; number < 6; number++) await kept.repository('local/app').blobs.put(layerOf(`old ${number}`))
    for (const tag of ['a', 'b', 'c']) {
      await storeImage(kept.repository('hub/app'), tag, [layerOf(tag)])
      clocks.pass(3000)
    }
    await kept.evictor.run()
    const { removed } = await collectGarbage({
      driver: filesystemDriver({ rootDirectory: folder }),
      descriptors: descriptorCache(openFactStore({ kind: 'none' }, silentLogger)),
      grace: -1000,
      dryRun: false,
      deleteUntagged: false,
    })
    assert.equal(removed.blobs, 6)
    await storeImage(kept.repository('hub/app'), 'new', [layerOf('new', 30_000)])
    clocks.pass(3000)
    await kept.evictor.run()
    for (const tag of ['a', 'b', 'c', 'new'])
      assert.ok(await isHere(kept.repository('hub/app').tags.resolve(parseTag(tag))), tag)
  })
})

// A collection that fails or is killed at any call of the driver: what is needed stays whole, and the next one ends the work.
import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { DriverError, PathNotFoundError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseTag } from '../../src/oci/reference.ts'
import { blobPath, linksRoot, repositoriesRoot, repositoryPath, tagsFolder } from '../../src/storage/layout.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { latest, name, openStore, otherName, storageSuite } from './fixture.ts'
import { assertWhole, collectIn, index, layer, pushImage, storedLayers } from './garbage-fixture.ts'

const minute = 60_000
const hour = 60 * minute

/** Tags that must stay whole, in a storage that holds garbage of every kind. */
async function fill(driver: StorageDriver): Promise<readonly Digest[]> {
  const store = openStore(driver)
  const repository = store.repository(name)
  const child = await pushImage(repository, ['config', 'a'])
  const list = index([child])
  await repository.manifests.put(list)
  await repository.tags.put(latest, digestOf(list))
  const before = await pushImage(repository, ['config', 'b'])
  const tagged = await pushImage(repository, ['config', 'c'])
  await repository.tags.put(parseTag('other'), digestOf(before))
  await repository.tags.put(parseTag('other'), digestOf(tagged))
  await pushImage(repository, ['config', 'd'], before)
  await store.repository(otherName).blobs.put(layer('a'))
  await store.repository(otherName).blobs.put(layer('e'))
  return [digestOf(list), digestOf(tagged)]
}

async function assertKept(driver: StorageDriver, needed: readonly Digest[]): Promise<void> {
  const repository = openStore(driver).repository(name)
  for (const digest of needed) await assertWhole(repository, digest)
  for (const [at, tag] of [latest, parseTag('other')].entries()) {
    assert.equal((await repository.tags.resolve(tag)).digest, needed[at])
  }
}

suite('a collection that does not get to its end', () => {
  for (const how of ['fails once', 'is killed'] as const) {
    test(`P9: one that ${how}, at any call, takes nothing that is needed (T-34)`, async (t) => {
      mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
      t.after(() => mock.timers.reset())
      let failures = 0
      for (let nth = 1, isOver = false; !isOver; nth++) {
        const driver = inMemoryDriver()
        const needed = await fill(driver)
        mock.timers.tick(2 * hour)
        let calls = 0
        const dying = watchedDriver(driver, ({ method, path }) => {
          calls++
          if (how === 'fails once' ? calls === nth : calls >= nth) throw new DriverError('EIO', `${method} of ${path}`)
        })
        const options = { grace: hour, deleteUntagged: true }
        const ended = await collectIn(dying, options).then(
          ({ isComplete }) => isComplete,
          () => false,
        )
        failures += ended ? 0 : 1
        isOver = calls < nth
        // What was out of its place comes back when the dead one's time is over.
        mock.timers.tick(6 * minute)
        await collectIn(driver, options)
        await assertKept(driver, needed)
        mock.timers.tick(2 * hour) // links that came back are young
        await collectIn(driver, options)
        await assertKept(driver, needed)
        assert.deepEqual(await storedLayers(openStore(driver), ['a', 'b', 'c', 'd', 'e']), ['a', 'c'])
        assert.deepEqual(await driver.list('/entrepot/swept').catch(() => []), [])
      }
      assert.ok(failures > 20, `${failures} calls could fail`)
    })
  }

  test('P9: what is needed is whole at once after a kill, before anyone cleans up', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    for (let nth = 1, isOver = false; !isOver; nth++) {
      const driver = inMemoryDriver()
      const needed = await fill(driver)
      mock.timers.tick(2 * hour)
      let calls = 0
      const dying = watchedDriver(driver, () => {
        if (++calls >= nth) throw new DriverError('EIO', 'dead')
      })
      await collectIn(dying, { grace: hour, deleteUntagged: true }).catch(() => {})
      isOver = calls < nth
      await assertKept(driver, needed)
    }
  })

  test('a second one waits until the first is surely dead, and a server puts back what it left', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    await fill(driver)
    mock.timers.tick(2 * hour)
    let isDead = false
    const dying = watchedDriver(driver, ({ method, path, to }) => {
      if (isDead) throw new DriverError('EIO', `${method} of ${path}`)
      isDead = method === 'move' && to?.startsWith('/entrepot/swept/') === true
    })
    await assert.rejects(async () => {
      if (!(await collectIn(dying, { grace: hour, deleteUntagged: true })).isComplete) throw new Error('not complete')
    })
    await assert.rejects(collectIn(driver, { grace: hour }), { name: 'GarbageError' })
    await openStore(driver).sweepTemporary({ age: Infinity })
    assert.equal((await driver.list('/entrepot/swept')).length, 2) // a batch, and the sign that its process lives
    mock.timers.tick(6 * minute)
    await openStore(driver).sweepTemporary({ age: Infinity })
    assert.deepEqual(await driver.list('/entrepot/swept'), [])
  })

  test('one that is asked to stop leaves everything in its place', async () => {
    const driver = inMemoryDriver()
    const needed = await fill(driver)
    const stop = new AbortController()
    const stopping = watchedDriver(driver, ({ to }) => {
      if (to?.startsWith('/entrepot/swept/') === true) stop.abort(new Error('asked to stop'))
    })
    await assert.rejects(collectIn(stopping, { deleteUntagged: true, signal: stop.signal }), /asked to stop/)
    await assertKept(driver, needed)
    assert.deepEqual(await driver.list('/entrepot/swept'), [])
  })
})

storageSuite('a storage that cannot be seen whole', (check) => {
  check('no blob goes where a manifest cannot be read', async ({ driver }) => {
    const [list] = await fill(driver)
    assert.ok(list !== undefined)
    const blind = watchedDriver(driver, ({ method, path }) => {
      if (method === 'read' && path === blobPath(list)) throw new DriverError('EIO', path)
    })
    const { isComplete, removed, problems } = await collectIn(blind)
    assert.deepEqual([isComplete, removed.blobs], [false, 0])
    assert.match(problems.join(), /cannot be read/)
  })

  for (const [what, folder] of [
    ['all repositories', repositoriesRoot],
    ['a repository', repositoryPath(name)],
    ['its manifests', linksRoot(name, 'manifests')],
    ['their links', `${linksRoot(name, 'manifests')}/sha256`],
    ['its tags', tagsFolder(name)],
    ['its layers', linksRoot(name, 'blobs')],
  ] as const) {
    for (const how of ['cannot be read', 'goes away in the middle'] as const) {
      check(`no blob goes where the folder of ${what} ${how}`, async ({ driver }) => {
        const needed = await fill(driver)
        let seen = 0
        const blind = watchedDriver(driver, ({ method, path }) => {
          if (method !== 'list' || path !== folder) return
          seen++
          if (what === 'all repositories' && seen === 1) return // it is there at the start
          if (how === 'cannot be read') throw new DriverError('EIO', path)
          throw new PathNotFoundError(path)
        })
        const report = await collectIn(blind, { deleteUntagged: true })
        assert.ok(seen > 0)
        assert.equal(report.isComplete, false)
        assert.deepEqual([report.removed.manifests > 0, report.removed.blobs], [false, 0])
        assert.ok(report.problems.length > 0)
        await assertKept(driver, needed)
      })
    }
  }
})

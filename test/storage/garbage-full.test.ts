// A collection on a disk that has no room left: that is what it is for.
import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { DriverError, temporaryFolder, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { repositoriesRoot, sweptFolder } from '../../src/storage/layout.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { latest, name, openStore } from './fixture.ts'
import { assertWhole, collectIn, layer, pushImage, storedLayers } from './garbage-fixture.ts'

const garbage = ['b', 'c', 'd', 'e', 'f', 'g']

async function fill(driver: StorageDriver): Promise<void> {
  const repository = openStore(driver).repository(name)
  await repository.tags.put(latest, digestOf(await pushImage(repository, ['config', 'a'])))
  for (const text of garbage) await repository.blobs.put(layer(text))
}

async function assertCollected(driver: StorageDriver): Promise<void> {
  const store = openStore(driver)
  assert.deepEqual(await storedLayers(store, ['a', ...garbage]), ['a'])
  const repository = store.repository(name)
  await assertWhole(repository, (await repository.tags.resolve(latest)).digest)
  assert.deepEqual(await driver.list(sweptFolder), [])
}

/** Takes no byte more. */
function fullDriver(driver: StorageDriver): StorageDriver {
  return new Proxy(driver, {
    get(target, key) {
      if (key === 'write') {
        return async (path: string, bytes: Uint8Array) => {
          if (bytes.byteLength > 0) throw new DriverError('ENOSPC', `ENOSPC at ${path}`)
          await target.write(path, bytes)
        }
      }
      const member: unknown = Reflect.get(target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

suite('a collection on a full disk', () => {
  test('writes no byte, and makes room', async () => {
    const driver = inMemoryDriver()
    await fill(driver)
    const { removed } = await collectIn(fullDriver(driver))
    assert.deepEqual([removed.links, removed.blobs], [garbage.length, garbage.length])
    await assertCollected(driver)
  })

  test('sets aside as much as there is room for, and then the rest', async () => {
    const driver = inMemoryDriver()
    await fill(driver)
    let moves = 0
    const narrow = watchedDriver(fullDriver(driver), ({ method, path, to }) => {
      if (method === 'remove' && path.startsWith(sweptFolder)) moves = 0
      if (to?.startsWith(sweptFolder) !== true || !to.includes('_-blobs_-') || ++moves <= 4) return
      throw new DriverError('ENOSPC', `ENOSPC at ${to}`)
    })
    assert.equal((await collectIn(narrow)).removed.blobs, garbage.length)
    await assertCollected(driver)
  })

  test('where links cannot be set aside they stay, with their blobs, and other blobs go', async () => {
    const driver = inMemoryDriver()
    await fill(driver)
    const store = openStore(driver)
    await store.repository(name).blobs.delete(digestOf(layer('b')))
    const narrow = watchedDriver(fullDriver(driver), ({ to }) => {
      if (to?.startsWith(sweptFolder) === true && to.endsWith('_-link')) throw new DriverError('EDQUOT', to)
    })
    const { isComplete, removed } = await collectIn(narrow)
    assert.deepEqual([isComplete, removed.links, removed.blobs], [true, 0, 1])
    assert.deepEqual(await storedLayers(store, garbage), garbage.slice(1))
    await collectIn(driver)
    await assertCollected(driver)
  })

  test('what dead transfers have left goes first', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    await fill(driver)
    await driver.write(`${temporaryFolder}/left`, layer('left'))
    mock.timers.tick(20 * 60_000)
    const left = async (): Promise<boolean> => (await driver.list(temporaryFolder)).includes('left')
    const tight = watchedDriver(fullDriver(driver), async ({ method, path }) => {
      if (method === 'write' && path.startsWith(sweptFolder) && (await left())) throw new DriverError('ENOSPC', path)
    })
    await collectIn(tight)
    await assertCollected(driver)
  })

  test('P10: where not even a folder can be made it says so', async () => {
    const driver = inMemoryDriver()
    await fill(driver)
    const none = watchedDriver(driver, ({ method, path }) => {
      if (method === 'write') throw new DriverError('ENOSPC', path)
    })
    await assert.rejects(collectIn(none), { name: 'GarbageError', message: /disk is so full/ })
    assert.deepEqual(await driver.list(repositoriesRoot), ['library'])
  })
})

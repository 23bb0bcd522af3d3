// Files that are out of their place: whatever happens to those who took them, they come back or were meant to go.
import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { patience, recover, SetAside } from '../../src/storage/garbage/set-aside.ts'
import { blobPath, linkPath, sweptFolder, tagIndexPath } from '../../src/storage/layout.ts'
import { youth } from '../../src/storage/link-files.ts'
import { hasCode } from '../drivers/conformance.ts'
import { makeFilesystem } from '../support/drivers.ts'
import { happening, watchedDriver } from '../support/faulty-driver.ts'
import { absent, name, storageSuite } from './fixture.ts'

const link = linkPath(name, 'blobs', absent)
const otherLink = linkPath(name, 'manifests', absent)

async function write(driver: StorageDriver, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) await driver.write(path, Buffer.from(absent))
}

function later(): number {
  return Date.now() + 2 * patience
}

storageSuite('what is set aside', (check) => {
  check('comes back where its process dies, however long its name', async ({ driver }) => {
    const deep = parseRepositoryName(Array.from({ length: 64 }, () => 'a_b').join('/'))
    const digest = digestOf('x', 'sha512')
    const paths = [link, otherLink, blobPath(absent), tagIndexPath(deep, parseTag(`_-.__--${'t'.repeat(100)}`), digest)]
    await write(driver, ...paths)
    const aside = await SetAside.begin(driver)
    for (const path of paths) assert.ok((await aside.take(path)) !== undefined)
    for (const path of paths) await assert.rejects(driver.stat(path))
    assert.deepEqual(await recover(driver, Date.now()), { batches: 0, running: 1 })
    assert.deepEqual(await recover(driver, later()), { batches: 1, running: 0 })
    for (const path of paths) assert.equal((await driver.read(path, 100)).toString(), absent)
    assert.deepEqual(await driver.list(sweptFolder), [])
  })

  check('goes where its removal had begun', async ({ driver }) => {
    await write(driver, link)
    const aside = await SetAside.begin(driver)
    await aside.take(link)
    await driver.remove(`${aside.folder}/alive`)
    assert.deepEqual(await recover(driver, later()), { batches: 1, running: 0 })
    await assert.rejects(driver.stat(link))
    assert.deepEqual(await driver.list(sweptFolder), [])
  })

  check('goes where its removal begins while its process is taken for a dead one', async ({ driver }) => {
    await write(driver, link)
    const aside = await SetAside.begin(driver)
    await aside.take(link)
    const slow = happening(
      driver,
      ({ method, path }) => method === 'list' && path === aside.folder,
      async () => await driver.remove(`${aside.folder}/alive`),
    )
    assert.deepEqual(await recover(slow.driver, later()), { batches: 1, running: 0 })
    assert.ok(slow.hasHappened())
    await assert.rejects(driver.stat(link))
  })

  check('comes back where its taking failed, though it had gone', async ({ driver }) => {
    await write(driver, link)
    const failing = watchedDriver(driver, async ({ path, to }) => {
      if (path !== link || to === undefined) return
      await driver.move(path, to)
      throw new DriverError('EIO', path) // as where the folder cannot be synced
    })
    {
      await using aside = await SetAside.begin(failing)
      await assert.rejects(aside.take(link), hasCode('EIO'))
      await assert.rejects(driver.stat(link))
    }
    await driver.stat(link)
    assert.deepEqual(await driver.list(sweptFolder), [])
  })

  check('P2: is not lost where its process was only slow, and takes more while it is put back', async ({ driver }) => {
    await write(driver, link, otherLink)
    const aside = await SetAside.begin(driver)
    await aside.take(link)
    const slow = happening(
      driver,
      ({ method, path }) => method === 'remove' && path.startsWith(sweptFolder),
      async () => void (await aside.take(otherLink)),
    )
    assert.deepEqual(await recover(slow.driver, later()), { batches: 0, running: 1 })
    assert.ok(slow.hasHappened())
    await aside[Symbol.asyncDispose]()
    for (const path of [link, otherLink]) await driver.stat(path)
    assert.deepEqual(await driver.list(sweptFolder), [])
  })

  check('comes back where another batch cannot be read', async ({ driver }) => {
    await write(driver, link, otherLink)
    const batches = [await SetAside.begin(driver), await SetAside.begin(driver)]
    const [first] = await driver.list(sweptFolder)
    for (const aside of batches) await aside.take(aside.folder === `${sweptFolder}/${first}` ? link : otherLink)
    const blind = watchedDriver(driver, ({ method, path }) => {
      if (method === 'list' && path === `${sweptFolder}/${first}`) throw new DriverError('EIO', path)
    })
    await assert.rejects(recover(blind, later()), hasCode('EIO'))
    await assert.rejects(driver.stat(link))
    await driver.stat(otherLink)
  })

  check('comes back from a batch with a list, as it was kept before', async ({ driver }) => {
    const folder = `${sweptFolder}/0b8f8a3e-0000-4000-8000-000000000000`
    await driver.write(`${folder}/origins`, Buffer.from([link, otherLink].join('\n')))
    await write(driver, `${folder}/0`, `${folder}/1`)
    assert.deepEqual(await recover(driver, Date.now()), { batches: 0, running: 1 })
    assert.deepEqual(await recover(driver, later()), { batches: 1, running: 0 })
    for (const path of [link, otherLink]) assert.equal((await driver.read(path, 100)).toString(), absent)
    assert.deepEqual(await driver.list(sweptFolder), [])
  })
})

suite('what is set aside', () => {
  test('P2: a batch that is just being begun is left to its process', async () => {
    await using made = await makeFilesystem()
    const { driver } = made
    const folder = `${sweptFolder}/0b8f8a3e-0000-4000-8000-000000000000`
    await write(driver, `${folder}/x`)
    await driver.remove(`${folder}/x`)
    assert.deepEqual(await recover(driver, Date.now()), { batches: 0, running: 1 })
    await driver.stat(folder)
    assert.deepEqual(await recover(driver, later()), { batches: 1, running: 0 })
  })

  test('a link that somebody writes while it is put back is a young one', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    await write(driver, link)
    mock.timers.tick(10 * youth)
    const busy = happening(
      driver,
      (call) => (call.method === 'write' && call.path === link) || call.to === link,
      async () => await write(driver, link),
    )
    const aside = await SetAside.begin(busy.driver)
    await aside.take(link)
    await aside.putBack(link)
    assert.ok(busy.hasHappened())
    assert.equal((await driver.stat(link)).modified.getTime(), Date.now())
  })

  test('a run that was silent for too long says that it lives before it takes more', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    await write(driver, link, otherLink)
    const lease = await SetAside.begin(driver)
    const aside = await SetAside.begin(driver, lease)
    await aside.take(link)
    mock.timers.tick(2 * patience)
    assert.deepEqual(await recover(driver, Date.now()), { batches: 2, running: 0 })
    await aside.take(otherLink) // and dies
    assert.deepEqual(await recover(driver, Date.now()), { batches: 0, running: 2 })
    assert.deepEqual(await recover(driver, later()), { batches: 2, running: 0 })
    for (const path of [link, otherLink]) await driver.stat(path)
  })
})

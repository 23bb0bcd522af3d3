// Links that other processes remove, and links that others are just writing.
import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { linkFolder, linkPath } from '../../src/storage/layout.ts'
import { LinkFiles, trust, youth } from '../../src/storage/link-files.ts'
import { Links } from '../../src/storage/links.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { hasError } from '../support/errors.ts'
import { faultyDriver, happening, watchedDriver } from '../support/faulty-driver.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { absent, manifestOf, name, openStore, push, storageSuite } from './fixture.ts'

storageSuite('two processes on one tree', (check) => {
  check('what one of them deletes is gone for the other', async ({ driver, repository }) => {
    const blob = await push(repository, Buffer.from('layer'))
    const manifest = (await repository.manifests.put(manifestOf('a'))).descriptor.digest
    const other = openStore(driver).repository(name)
    await other.blobs.stat(blob)
    await other.manifests.get(manifest)
    await repository.blobs.delete(blob)
    await repository.manifests.delete(manifest)
    await assert.rejects(other.blobs.stat(blob), hasError('BLOB_UNKNOWN'))
    await assert.rejects(other.blobs.open(blob), hasError('BLOB_UNKNOWN'))
    await assert.rejects(other.manifests.get(manifest), hasError('MANIFEST_UNKNOWN'))
  })

  check('a fact that is set after the deletion reveals nothing', async ({ descriptors, repository }) => {
    const digest = await push(repository, Buffer.from('layer'))
    const known = await repository.blobs.stat(digest)
    await repository.blobs.stat(digest)
    await repository.blobs.delete(digest)
    await descriptors.set({ repository: name, kind: 'blobs' }, digest, known)
    await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
  })
})

suite('P3: a link that cannot be made young', () => {
  test('still says what is here, and the log says so once until it can be again', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    let isFull = false
    const driver = inMemoryDriver()
    const full = watchedDriver(driver, ({ method, path }) => {
      if (isFull && method === 'write') throw new DriverError('ENOSPC', path)
    })
    const { logger, lines } = recordingLogger()
    const files = new LinkFiles({ driver: full, logger })
    await files.write('/link', absent)
    for (const [after, warnings] of [
      [true, 1],
      [true, 1],
      [false, 1],
      [true, 2],
    ] as const) {
      mock.timers.tick(2 * youth)
      isFull = after
      for (let request = 0; request < 3; request++) assert.equal(await files.renew('/link'), absent)
      assert.equal(lines.length, warnings)
    }
  })
})

suite('a link that was seen', () => {
  test('is believed for a moment without asking storage, and no longer', async () => {
    const driver = faultyDriver(inMemoryDriver())
    const descriptors = descriptorCache(openFactStore({ kind: 'memory' }, silentLogger))
    let now = 0
    const files = new LinkFiles({ driver, logger: silentLogger, now: () => now })
    const links = new Links({ name, kind: 'blobs', driver, files, descriptors })
    const load = async (): Promise<{ mediaType: string; digest: typeof absent; size: number }> => ({
      mediaType: 'a/b',
      digest: absent,
      size: 1,
    })
    await links.add(absent, absent)
    await links.find(absent, load)
    await links.find(absent, load)
    driver.arm(0)
    now = trust - 1
    assert.ok(await links.find(absent, load))
    assert.deepEqual(driver.calls, [])
    await driver.remove(linkPath(name, 'blobs', absent)) // as another process does
    assert.ok(await links.find(absent, load))
    now = trust
    assert.equal(await links.find(absent, load), undefined)
  })

  test('is not believed where this process has taken it away while it was read', async () => {
    const driver = inMemoryDriver()
    const isRead = deferred()
    const gate = deferred()
    const read = driver.read.bind(driver)
    driver.read = async (path, limit) => {
      const bytes = await read(path, limit)
      isRead.resolve()
      await gate.promise
      return bytes
    }
    const files = new LinkFiles({ driver, logger: silentLogger })
    await driver.write('/link', Buffer.from(absent))
    const found = files.recent('/link')
    await isRead.promise
    assert.ok(await files.remove('/link'))
    gate.resolve()
    assert.equal(await found, absent)
    assert.equal(await files.recent('/link'), undefined)
  })

  test('P2: whoever finds a link half written waits until it is durable', async () => {
    const driver = inMemoryDriver()
    const renamed = deferred()
    const synced = deferred()
    const write = driver.write.bind(driver)
    driver.write = async (path, bytes) => {
      await write(path, bytes)
      renamed.resolve()
      await synced.promise
    }
    const files = new LinkFiles({ driver, logger: silentLogger })
    const target = digestOf('x')
    const first = files.write('/link', target)
    await renamed.promise
    let isTold = false
    const second = files.write('/link', target).then(() => (isTold = true))
    for (let turn = 0; turn < 50; turn++) await driver.stat('/link')
    assert.equal(isTold, false)
    synced.resolve()
    await Promise.all([first, second])
  })
})

storageSuite('a link that is removed by one server and written by another', (check) => {
  check('P3: stays', async ({ driver, repository }) => {
    const blob = await push(repository, Buffer.from('layer'))
    const folder = linkFolder(name, 'blobs', blob)
    const { driver: watched, hasHappened } = happening(
      driver,
      ({ method, path }) => method === 'remove' && path === folder,
      async () => await driver.write(linkPath(name, 'blobs', blob), Buffer.from(blob)),
    )
    await openStore(watched).repository(name).blobs.delete(blob)
    assert.ok(hasHappened())
    assert.equal((await openStore(driver).repository(name).blobs.stat(blob)).digest, blob)
  })
})

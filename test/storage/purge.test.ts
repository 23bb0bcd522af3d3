// Uploads that nobody goes on with.
import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { uploadDataPath, uploadFolder, uploadStartedAtPath, uploadsFolder } from '../../src/storage/layout.ts'
import { purgeUploads, UploadPurger, type PurgeOptions, type PurgeReport } from '../../src/storage/purge.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { chunksOf, name, openStore, otherName, storageSuite } from './fixture.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

async function begin(repository: WritableRepository, text: string): Promise<UploadId> {
  const upload = await repository.uploads.create()
  await upload.append(chunksOf(Buffer.from(text), 4))
  await upload.close()
  return upload.id
}

async function purge(driver: StorageDriver, options: Partial<PurgeOptions> = {}): Promise<PurgeReport> {
  const olderThan = new Date(Date.now() + hour) // as if an hour had passed
  const onFailure = (_: string, error: unknown): void => {
    throw error
  }
  return await purgeUploads({ driver, olderThan, dryRun: false, onFailure, ...options })
}

storageSuite('the purge of uploads', (check) => {
  check('a storage that is new has none, and nothing fails there', async ({ driver }) => {
    assert.deepEqual(await purge(driver), { uploads: 0, bytes: 0 })
  })

  check('one folder that cannot be read is said, and the rest is purged', async ({ store, driver }) => {
    for (const one of [name, otherName]) await begin(store.repository(one), 'x')
    const blind = watchedDriver(driver, ({ method, path }) => {
      if (method === 'list' && path === uploadsFolder(name)) throw new DriverError('EACCES', path)
    })
    const failures: string[] = []
    const { uploads } = await purge(blind, { onFailure: (path) => failures.push(path) })
    assert.deepEqual([uploads, failures], [1, [uploadsFolder(name)]])
  })

  check('an old upload goes, a young one stays', async ({ repository, driver }) => {
    const id = await begin(repository, 'half of it')
    assert.deepEqual(await purge(driver, { olderThan: new Date(Date.now() - hour) }), { uploads: 0, bytes: 0 })
    await driver.stat(uploadDataPath(name, id))
    assert.deepEqual(await purge(driver), { uploads: 1, bytes: 10 })
    assert.deepEqual(await driver.list(uploadsFolder(name)), [])
    assert.deepEqual(await purge(driver), { uploads: 0, bytes: 0 })
  })

  check('it goes in repositories that hold nothing else, and in those below others', async ({ store, driver }) => {
    for (const one of [name, otherName]) await begin(store.repository(one), 'x')
    assert.equal((await purge(driver)).uploads, 2)
  })

  check('an upload that was begun long ago and is written to lives', async ({ repository, driver }) => {
    const id = await begin(repository, 'half of it')
    await driver.write(uploadStartedAtPath(name, id), Buffer.from('2001-01-01T00:00:00Z'))
    assert.equal((await purge(driver, { olderThan: new Date(Date.now() - hour) })).uploads, 0)
    assert.equal((await purge(driver)).uploads, 1)
  })

  check('an upload that was begun now and has an old file lives', async ({ repository, driver }) => {
    const id = await begin(repository, 'half of it')
    const text = new Date(Date.now() + 2 * hour).toISOString()
    await driver.write(uploadStartedAtPath(name, id), Buffer.from(text))
    assert.equal((await purge(driver)).uploads, 0)
  })

  check('where the start is missing or unreadable the age of the files counts', async ({ repository, driver }) => {
    for (const text of [undefined, '', 'yesterday', 'x'.repeat(99)]) {
      const id = await begin(repository, 'half of it')
      if (text === undefined) await driver.remove(uploadStartedAtPath(name, id))
      else await driver.write(uploadStartedAtPath(name, id), Buffer.from(text))
      assert.equal((await purge(driver, { olderThan: new Date(Date.now() - hour) })).uploads, 0, text)
      assert.equal((await purge(driver)).uploads, 1, text)
    }
  })

  check('a session without a byte goes too', async ({ repository, driver }) => {
    const id = await begin(repository, '')
    await driver.remove(uploadDataPath(name, id))
    assert.deepEqual(await purge(driver), { uploads: 1, bytes: 0 })
  })

  check('a dry run only counts', async ({ repository, driver }) => {
    const id = await begin(repository, 'half')
    assert.deepEqual(await purge(driver, { dryRun: true }), { uploads: 1, bytes: 4 })
    await driver.stat(uploadFolder(name, id))
  })

  check('what is no session is left alone', async ({ driver, repository }) => {
    await begin(repository, 'x')
    await driver.write(`${uploadsFolder(name)}/notes/data`, Buffer.from('by hand'))
    assert.equal((await purge(driver)).uploads, 1)
    assert.deepEqual(await driver.list(uploadsFolder(name)), ['notes'])
  })

  check('one that cannot be removed does not save the others', async ({ driver, store }) => {
    for (const one of [name, otherName]) await begin(store.repository(one), 'x')
    const failing = watchedDriver(driver, ({ method, path }) => {
      if (method === 'remove' && path.startsWith(uploadsFolder(name))) throw new DriverError('EIO', path)
    })
    const failures: string[] = []
    const { uploads } = await purge(failing, { onFailure: (path) => failures.push(path) })
    assert.deepEqual([uploads, failures.length], [1, 1])
  })
})

suite('the purger', () => {
  test('it begins within an hour, goes on at its interval, and ends when it is disposed', async (t) => {
    mock.timers.enable({ apis: ['Date', 'setTimeout'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    t.mock.method(Math, 'random', () => 0.5)
    let walks = 0
    let walked = deferred()
    const driver = watchedDriver(inMemoryDriver(), ({ method }) => {
      if (method !== 'list') return
      walks++
      walked.resolve()
    })
    const recording = recordingLogger()
    const { logger } = recording
    await begin(openStore(driver).repository(name), 'x')
    const next = async (passed: number): Promise<void> => {
      walked = deferred()
      mock.timers.tick(passed)
      await walked.promise
      for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate)
    }
    {
      using purger = new UploadPurger({ driver, age: 7 * day, interval: 24 * hour, dryRun: false, logger })
      assert.ok(purger)
      mock.timers.tick(29 * minute)
      assert.equal(walks, 0)
      await next(minute)
      assert.equal(recording.lines.length, 0)
      for (let passed = 1; passed < 8; passed++) await next(day)
      assert.deepEqual(
        recording.lines.map(({ msg, uploads, bytes }) => [msg, uploads, bytes]),
        [['old uploads purged', 1, 1]],
      )
    }
    walks = 0
    mock.timers.tick(30 * day)
    assert.equal(walks, 0)
  })
})

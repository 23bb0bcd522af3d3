import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { PathNotFoundError } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { BlobFiles } from '../../src/storage/blob-files.ts'
import { blobPath, damagedPath } from '../../src/storage/layout.ts'
import { faultyDriver, watchedDriver } from '../support/faulty-driver.ts'

test('P6: a copy that comes while a damaged file is set aside is not taken for it', async () => {
  const right = Buffer.from('right')
  const digest = digestOf(right)
  const begun = deferred()
  const gate = deferred()
  const driver = watchedDriver(inMemoryDriver(), async ({ method, to }) => {
    if (method !== 'move' || to !== damagedPath(digest)) return
    begun.resolve()
    await gate.promise
  })
  const files = new BlobFiles(driver)
  await driver.write(blobPath(digest), Buffer.from('wrong'))
  await driver.write('/entrepot/fills/copy', right)
  const { version } = await driver.stat(blobPath(digest))
  const aside = files.setAside(digest, version)
  await begun.promise // it has seen that the damaged file is still there
  const moved = files.moveIn('/entrepot/fills/copy', digest, right.byteLength)
  gate.resolve()
  assert.equal(await aside, true)
  assert.notEqual(await moved, version)
  assert.deepEqual(await driver.read(blobPath(digest), 100), right)
  assert.equal((await driver.read(damagedPath(digest), 100)).toString(), 'wrong')
})

test('P6: a copy that has come before a damaged file is set aside stays', async () => {
  const right = Buffer.from('right')
  const digest = digestOf(right)
  const driver = inMemoryDriver()
  const files = new BlobFiles(driver)
  await driver.write(blobPath(digest), Buffer.from('wrong'))
  const { version } = await driver.stat(blobPath(digest))
  await driver.write(blobPath(digest), right)
  assert.equal(await files.setAside(digest, version), false)
  assert.deepEqual(await driver.read(blobPath(digest), 100), right)
})

test('P2: a file that has another size than what was verified goes to no blob’s place', async () => {
  const right = Buffer.from('right')
  const digest = digestOf(right)
  const driver = inMemoryDriver()
  const files = new BlobFiles(driver)
  await driver.write('/upload', Buffer.from('righ')) // begun anew meanwhile
  await assert.rejects(files.moveIn('/upload', digest, right.byteLength), PathNotFoundError)
  assert.equal(await files.stat(digest), undefined)
  assert.equal((await driver.read('/upload', 100)).toString(), 'righ')
})

test('P2: what lies in its place already is written anew, once: whoever put it there may not have made it durable', async () => {
  const bytes = Buffer.from('bytes')
  const digest = digestOf(bytes)
  const driver = faultyDriver(inMemoryDriver())
  await driver.write(blobPath(digest), bytes)
  const files = new BlobFiles(driver)
  for (const written of [1, 0]) {
    driver.arm(0)
    await files.put(digest, bytes)
    assert.equal(driver.calls.filter(({ method }) => method === 'write').length, written)
  }
})

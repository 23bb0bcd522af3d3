import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { BlobFiles } from '../../src/storage/blob-files.ts'
import { blobPath, damagedPath } from '../../src/storage/layout.ts'
import { watchedDriver } from '../support/faulty-driver.ts'

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

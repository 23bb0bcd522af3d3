import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { collect } from '../../src/bytes/stream.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { isAbsence } from '../../src/oci/error.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { blobPath, tagCurrentPath } from '../../src/storage/layout.ts'
import { latest, manifestOf, name, storageSuite } from './fixture.ts'

async function smallBlobIn({ blobs }: WritableRepository): Promise<{
  readonly bytes: Buffer
  readonly digest: Digest
  readonly read: () => Promise<Buffer>
}> {
  const bytes = randomBytes(100)
  const { digest } = await blobs.put(bytes)
  return { bytes, digest, read: async () => await collect((await blobs.open(digest)).body, bytes.length) }
}

storageSuite('what was seen on storage a moment ago', (check) => {
  check('is believed: a small blob that is read again costs storage nothing', async ({ repository, driver, clock }) => {
    clock.isStopped = true
    const { bytes, read } = await smallBlobIn(repository)
    await read()
    await read()
    const before = driver.calls.length
    assert.deepEqual(await read(), bytes)
    assert.deepEqual(driver.calls.slice(before), [])
  })

  check('is not believed a second later: a small blob is gone with its file', async ({ repository, driver, clock }) => {
    clock.isStopped = true
    const { bytes, digest, read } = await smallBlobIn(repository)
    await read()
    await driver.remove(blobPath(digest))
    assert.deepEqual(await read(), bytes)
    clock.isStopped = false
    await assert.rejects(read(), isAbsence)
  })

  check('is believed of the tags of copies, and of no others', async ({ repository, driver, clock }) => {
    clock.isStopped = true
    const [one, other] = [
      await repository.manifests.put(manifestOf('a')),
      await repository.manifests.put(manifestOf('b')),
    ]
    await repository.tags.put(latest, one.descriptor.digest)
    const resolve = async (isCopy: boolean): Promise<string> =>
      (await repository.tags.resolve(latest, { isCopy })).digest
    assert.equal(await resolve(true), one.descriptor.digest)
    await driver.write(tagCurrentPath(name, latest), Buffer.from(other.descriptor.digest)) // as another process would
    assert.equal(await resolve(true), one.descriptor.digest)
    assert.equal(await resolve(false), other.descriptor.digest)
    clock.isStopped = false
    assert.equal(await resolve(true), other.descriptor.digest)
  })

  check('is forgotten when this process changes it', async ({ repository, clock }) => {
    clock.isStopped = true
    const digests = await Promise.all(
      ['a', 'b'].map(async (text) => (await repository.manifests.put(manifestOf(text))).descriptor.digest),
    )
    for (const digest of [...digests, ...digests]) {
      await repository.tags.put(latest, digest)
      assert.equal((await repository.tags.resolve(latest, { isCopy: true })).digest, digest)
    }
  })
})

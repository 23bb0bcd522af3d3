// Tags that are put and deleted at once.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { removeManifest } from '../../src/api/manifest-push.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { tagCurrentPath, tagFolder } from '../../src/storage/layout.ts'
import { hasError } from '../support/errors.ts'
import { happening, watchedDriver } from '../support/faulty-driver.ts'
import { absent, latest, listed, manifestOf, name, openStore, storageSuite } from './fixture.ts'

const other = digestOf('other')

storageSuite('deleting a tag', (check) => {
  check('only if it points at something leaves it where it does not', async ({ repository: { tags } }) => {
    await tags.delete(latest, { onlyIf: absent })
    await tags.put(latest, absent)
    await tags.delete(latest, { onlyIf: other })
    assert.equal(await tags.find(latest), absent)
    await tags.delete(latest, { onlyIf: absent })
    assert.equal(await tags.find(latest), undefined)
    assert.deepEqual(await listed(tags.list()), [])
    await assert.rejects(tags.delete(latest), hasError('MANIFEST_UNKNOWN'))
  })
})

suite('deleting a manifest by its digest', () => {
  for (const [what, isMoved] of [
    ['points at another by then stays', true],
    ['is gone by then is no trouble', false],
  ] as const) {
    test(`a tag that ${what}`, async () => {
      const driver = inMemoryDriver()
      const { manifests, tags } = openStore(driver).repository(name)
      const { descriptor } = await manifests.put(manifestOf('a'))
      await tags.put(latest, descriptor.digest)
      let reads = 0
      const busy = happening(
        driver,
        ({ method, path }) =>
          (method === 'read' && path === tagCurrentPath(name, latest) && ++reads === 2) ||
          (method === 'remove' && path === tagCurrentPath(name, latest)),
        async () => void (await (isMoved ? tags.put(latest, other) : tags.delete(latest))),
      )
      const repository = openStore(busy.driver).removable(name)
      await removeManifest(repository, { kind: 'digest', digest: descriptor.digest }, {})
      assert.ok(busy.hasHappened())
      assert.equal(await tags.find(latest), isMoved ? other : undefined)
      await assert.rejects(manifests.stat(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
    })
  }
})

suite('a tag that is put while it is deleted', () => {
  test('is there afterwards, with its history', async () => {
    const driver = inMemoryDriver()
    let putting: Promise<void> | undefined
    const slow = watchedDriver(driver, async ({ method, path }) => {
      if (method !== 'remove' || path !== tagFolder(name, latest) || putting !== undefined) return
      putting = store.repository(name).tags.put(latest, other)
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
    })
    const store = openStore(slow)
    await store.repository(name).tags.put(latest, absent)
    await store.repository(name).tags.delete(latest)
    assert.ok(putting !== undefined)
    await putting
    assert.equal(await store.repository(name).tags.find(latest), other)
    assert.deepEqual(await driver.list(tagFolder(name, latest)), ['current', 'index'])
  })
})

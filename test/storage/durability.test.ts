// P2: nothing wrong or partial becomes visible, whichever call of the driver fails.
import assert from 'node:assert/strict'
import { collect } from '../../src/bytes/stream.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { isAbsence } from '../../src/oci/error.ts'
import { blobPath, fillsFolder, linkPath } from '../../src/storage/layout.ts'
import { pattern } from '../drivers/conformance.ts'
import { chunksOf, latest, listed, manifestOf, name, openStore, push, storageSuite, type Fixture } from './fixture.ts'

storageSuite('durability', (check) => {
  check('P2: synced, then moved, then linked', async ({ repository, driver }) => {
    const bytes = pattern(100_000)
    const digest = digestOf(bytes)
    await using upload = await repository.uploads.create()
    await upload.append(chunksOf(bytes, 50_000))
    driver.arm(0)
    await upload.commit(digest)
    const steps = driver.calls.map(({ method, path, to }) => `${method} ${to ?? path}`)
    const order = ['sync', 'close', `move ${blobPath(digest)}`, `write ${linkPath(name, 'blobs', digest)}`]
    const places = order.map((step) => steps.findIndex((taken) => taken.startsWith(step)))
    assert.ok(
      places.every((place) => place >= 0),
      steps.join('\n'),
    )
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
      steps.join('\n'),
    )
  })

  check('P2: a file whose sync fails is not published, and is gone', async ({ repository, driver, store }) => {
    const bytes = pattern(1000)
    {
      await using upload = await repository.uploads.create()
      await upload.append(chunksOf(bytes, 1000))
      const syncAt = 2 // after the file's size is looked at
      driver.arm(syncAt)
      await assert.rejects(upload.commit(digestOf(bytes)), { code: 'EIO' })
      assert.equal(driver.calls[syncAt - 1]?.method, 'sync')
      driver.arm(0)
    }
    assert.equal(await store.content.find(digestOf(bytes)), undefined)
    assert.deepEqual(await driver.list('/docker/registry/v2/repositories/library/app/_uploads'), [])
  })

  const bytes = pattern(700_000)
  const digest = digestOf(bytes)
  const manifest = manifestOf('a')
  const manifestDigest = digestOf(manifest)

  /** Each task, and what must hold afterwards, whether it succeeded or not. */
  const tasks: readonly (readonly [what: string, task: (fixture: Fixture) => Promise<unknown>])[] = [
    ['a push', async ({ repository }) => await push(repository, bytes)],
    ['a small put', async ({ repository }) => await repository.blobs.put(bytes)],
    [
      'a fill',
      async ({ store, repository }) => {
        await using upload = await store.content.receive({ digest })
        await upload.append(chunksOf(bytes, 100_000))
        await upload.commit(digest)
        await repository.blobs.link(digest)
      },
    ],
    [
      'a push by sha512',
      async ({ repository }) => {
        await using upload = await repository.uploads.create()
        await upload.append(chunksOf(bytes, 100_000))
        await upload.commit(digestOf(bytes, 'sha512'))
      },
    ],
    ['a manifest', async ({ repository }) => await repository.manifests.put(manifest)],
    [
      'a tag',
      async ({ repository }) => {
        await repository.manifests.put(manifest)
        await repository.tags.put(latest, manifestDigest)
      },
    ],
  ]

  for (const [what, task] of tasks) {
    check(
      `P2: ${what} that fails at any call shows whole or not at all, and succeeds when tried again`,
      async (fixture) => {
        const { driver } = fixture
        let failures = 0
        for (let nth = 1; ; nth++) {
          await forgetEverything(fixture)
          driver.arm(nth)
          const error = await task(fixture).then(
            () => undefined,
            (failure: unknown) => failure,
          )
          const isOver = driver.calls.length < nth
          driver.arm(0)
          await assertWhole(fixture)
          if (isOver) {
            assert.equal(error, undefined)
            break
          }
          failures += error === undefined ? 0 : 1
          await task(fixture)
          await assertWhole(fixture)
        }
        assert.ok(failures >= 2, `${failures} calls could fail`)
      },
    )
  }

  check('P2: overwriting a tag shows the old or the new, never none', async ({ repository, driver }) => {
    const other = (await repository.manifests.put(manifestOf('b'))).descriptor.digest
    await repository.manifests.put(manifest)
    for (let nth = 1, isOver = false; !isOver; nth++) {
      driver.arm(0)
      await repository.tags.put(latest, other)
      driver.arm(nth)
      await repository.tags.put(latest, manifestDigest).catch(() => {})
      isOver = driver.calls.length < nth
      driver.arm(0)
      assert.ok([other, manifestDigest].includes((await repository.tags.resolve(latest)).digest))
    }
  })

  check('a deletion that fails at any call leaves a tag or none, never half of one', async ({ repository, driver }) => {
    await repository.manifests.put(manifest)
    for (let nth = 1, isOver = false; !isOver; nth++) {
      driver.arm(0)
      await repository.tags.put(latest, manifestDigest)
      driver.arm(nth)
      await repository.tags.delete(latest).catch(() => {})
      isOver = driver.calls.length < nth
      driver.arm(0)
      const listing = await listed(repository.tags.list())
      const found = await repository.tags.find(latest)
      assert.deepEqual(listing, found === undefined ? [] : ['latest'])
    }
  })

  /** Whatever a new process finds is right to the last byte; no fill is left behind in this one. */
  async function assertWhole({ driver, store, repository }: Fixture): Promise<void> {
    for (const { repository: open } of [{ repository }, { repository: openStore(driver).repository(name) }]) {
      for (const blob of [digest, digestOf(bytes, 'sha512')]) {
        const read = await orAbsent(async () => await collect((await open.blobs.open(blob)).body, bytes.byteLength))
        if (read !== undefined) assert.ok(read.equals(bytes))
      }
      const got = await orAbsent(async () => await open.manifests.get(manifestDigest))
      if (got !== undefined) assert.ok(manifest.equals(got.bytes))
      const tagged = await open.tags.find(latest)
      if (tagged !== undefined) assert.equal((await open.tags.resolve(latest)).digest, manifestDigest)
    }
    const content = await orAbsent(async () => await collect((await store.content.open(digest)).body, bytes.byteLength))
    if (content !== undefined) assert.ok(content.equals(bytes))
    assert.deepEqual(await driver.list(fillsFolder).catch(() => []), [])
    assert.deepEqual(await driver.list('/entrepot/damaged').catch(() => []), [])
  }

  async function forgetEverything({ driver, descriptors }: Fixture): Promise<void> {
    driver.arm(0)
    for (const root of ['/docker', '/entrepot']) await driver.remove(root).catch(() => {})
    for (const known of [digest, manifestDigest, digestOf(bytes, 'sha512')]) {
      await descriptors.clear('content', known)
      await descriptors.clear({ repository: name, kind: 'blobs' }, known)
      await descriptors.clear({ repository: name, kind: 'manifests' }, known)
    }
  }
})

async function orAbsent<T>(get: () => Promise<T>): Promise<T | undefined> {
  try {
    return await get()
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

// What a collection of garbage lets go of that is known about referrers.
import assert from 'node:assert/strict'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { RepositoryName } from '../../src/oci/reference.ts'
import {
  blobPath,
  readManifestsPath,
  referrerPath,
  repositoryPath,
  subjectFolder,
  upstreamReferrersPath,
} from '../../src/storage/layout.ts'
import { namesIn } from '../../src/storage/links.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { bytesOf, listedAs, referrerDocument } from '../support/referrers.ts'
import { absent, listed, name, openStore, otherName, storageSuite, type Fixture } from './fixture.ts'
import { collectIn, index, pushImage } from './garbage-fixture.ts'

const hour = 3_600_000

async function isThere(driver: StorageDriver, path: string): Promise<boolean> {
  return await driver.stat(path).then(
    () => true,
    () => false,
  )
}

/** Whether anything is known of a subject: who refers to it, what an upstream said. */
async function known(driver: StorageDriver, subject: Digest, of: RepositoryName = name): Promise<[boolean, boolean]> {
  const entries = await namesIn(driver, subjectFolder(of, subject))
  return [entries.length > 0, await isThere(driver, upstreamReferrersPath(of, subject))]
}

/** A subject that is not here with a referrer that is deleted, of which only the traces are left. */
async function leaveTraces({ repository, driver }: Pick<Fixture, 'repository' | 'driver'>): Promise<Digest> {
  const bytes = bytesOf(referrerDocument(absent, 'a'))
  const { descriptor } = await repository.manifests.put(bytes)
  await repository.referrers.keep(absent, [listedAs(bytes)])
  await repository.manifests.delete(descriptor.digest)
  await driver.write(referrerPath(repository.name, absent, descriptor.digest), Buffer.from(descriptor.digest))
  return absent
}

storageSuite('garbage of referrers', (check) => {
  check('what is known of a subject goes when nothing linked is it, names it, or is about it', async (fixture) => {
    const { repository, driver, restart } = fixture
    const said = [listedAs(bytesOf(referrerDocument(absent, 'said')))]
    const linked = digestOf(await pushImage(repository, ['linked']))
    const childBytes = await pushImage(repository, ['child'])
    const child = digestOf(childBytes)
    await repository.manifests.put(index([childBytes]))
    await repository.manifests.delete(child)
    const about = digestOf('a subject that is elsewhere')
    await repository.blobs.put(Buffer.from('{}'))
    const referrer = await repository.manifests.put(bytesOf(referrerDocument(about, 'kept')))
    const gone = await leaveTraces(fixture)
    const never = digestOf('never here', 'sha512')
    for (const subject of [linked, child, about, never]) await repository.referrers.keep(subject, said)
    assert.deepEqual(await listed(repository.referrers.list(gone)), [])

    const { problems } = await collectIn(driver)
    assert.deepEqual(problems, [])
    for (const subject of [linked, child]) assert.deepEqual(await known(driver, subject), [false, true])
    assert.deepEqual(await known(driver, about), [true, true])
    for (const subject of [gone, never]) assert.deepEqual(await known(driver, subject), [false, false])
    const found = await listed(restart().repository(name).referrers.list(about))
    assert.deepEqual(
      found.map(({ digest }) => digest),
      [referrer.descriptor.digest],
    )
  })

  check('a referrer whose traces went is listed when another registry puts it back', async (fixture) => {
    const { repository, driver } = fixture
    const bytes = bytesOf(referrerDocument(absent, 'a'))
    await repository.blobs.put(Buffer.from('{}'))
    await repository.manifests.put(bytes)
    assert.equal((await listed(repository.referrers.list(absent))).length, 1)
    await collectIn(driver, { deleteUntagged: true })
    assert.deepEqual(await known(driver, absent), [false, false])
    const tree = openStore(driver).repository(name)
    await tree.blobs.put(Buffer.from('{}'))
    await tree.manifests.put(bytes)
    await driver.remove(subjectFolder(name, absent))
    assert.deepEqual(await listed(openStore(driver).repository(name).referrers.list(absent)), [listedAs(bytes)])
  })

  check('what is younger than the grace stays, and a dry run touches nothing', async (fixture) => {
    const { repository, driver } = fixture
    await pushImage(repository, ['a'])
    const subject = await leaveTraces(fixture)
    await collectIn(driver, { grace: hour })
    await collectIn(driver, { dryRun: true })
    assert.deepEqual(await known(driver, subject), [true, true])
  })

  check('a repository that is not understood keeps all, one that is gone keeps nothing', async (fixture) => {
    const { repository, store, driver } = fixture
    const damaged = digestOf(await pushImage(repository, ['a']))
    const other = store.repository(otherName)
    const subject = await leaveTraces(fixture)
    await leaveTraces({ ...fixture, repository: other })
    await listed(other.referrers.list(subject))
    await driver.write(blobPath(damaged), Buffer.from('damaged'))
    await driver.remove(repositoryPath(otherName))
    await collectIn(driver)
    assert.deepEqual(await known(driver, subject), [true, true])
    assert.deepEqual(await known(driver, subject, otherName), [false, false])
    assert.ok(!(await isThere(driver, readManifestsPath(otherName))))
  })

  check('a disk that fails is a problem that is told, and no reason to keep blobs', async (fixture) => {
    const { repository, driver } = fixture
    await pushImage(repository, ['a'])
    await leaveTraces(fixture)
    const told: string[] = []
    for (let nth = 1, isOver = false; !isOver && told.length === 0; nth++) {
      driver.arm(nth)
      const report = await collectIn(driver).catch(() => undefined)
      isOver = driver.calls.length < nth
      if (driver.calls[nth - 1]?.path.startsWith('/entrepot/referrers') !== true) continue
      assert.equal(report?.isComplete, true)
      told.push(...report.problems)
    }
    assert.match(told.join(), /^referrers cannot be forgotten: DriverError/)
  })
})

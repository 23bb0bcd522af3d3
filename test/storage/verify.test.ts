// Looking at a storage while others change it: what they do in the middle is no problem of the storage.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { descriptorCache, type DescriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { blobDescriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { blobPath, linkPath, linksRoot, tagCurrentPath } from '../../src/storage/layout.ts'
import { verifyStorage, type VerifyOptions } from '../../src/storage/verify/verify.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { happening, watchedDriver, type DriverCall } from '../support/faulty-driver.ts'
import { absent, latest, manifestOf, name, openStore } from './fixture.ts'
import { image, layer, pushImage } from './garbage-fixture.ts'

const bytes = Buffer.from('what is right')
const digest = digestOf(bytes)
const wrong = Buffer.from('what is wrong')

function facts(): DescriptorCache {
  return descriptorCache(openFactStore({ kind: 'memory' }, silentLogger))
}

async function problemsIn(driver: StorageDriver, more: Partial<VerifyOptions> = {}): Promise<string[]> {
  const problems: string[] = []
  await verifyStorage({
    driver,
    descriptors: facts(),
    setAside: false,
    isHosted: () => true,
    areChildrenNeeded: true,
    onProblem: ({ repository, text }) => problems.push(repository === undefined ? text : `${repository}: ${text}`),
    ...more,
  })
  return problems
}

/** What is said of a store with one blob and one tagged image, where something happens just before a call. */
async function problemsWhere(
  fits: (call: DriverCall) => boolean,
  happens: (driver: StorageDriver) => Promise<unknown>,
): Promise<string[]> {
  const driver = inMemoryDriver()
  const repository = openStore(driver).repository(name)
  await repository.blobs.put(bytes)
  await repository.tags.put(latest, digestOf(await pushImage(repository, ['config', 'a'])))
  const busy = happening(driver, fits, async () => void (await happens(driver)))
  const problems = await problemsIn(busy.driver)
  assert.ok(busy.hasHappened())
  return problems
}

suite('verifying a storage that is in use', () => {
  for (const setAside of [false, true]) {
    test(`a blob that is replaced while it is read is not called damaged (set aside: ${setAside})`, async () => {
      const driver = inMemoryDriver()
      await openStore(driver).repository(name).blobs.put(bytes)
      await driver.write(blobPath(digest), wrong)
      const busy = happening(
        driver,
        ({ method, path }) => method === 'chunk' && path === blobPath(digest),
        async () => await driver.write(blobPath(digest), bytes),
      )
      assert.deepEqual(await problemsIn(busy.driver, { setAside }), [])
      assert.ok(busy.hasHappened())
      assert.deepEqual(await driver.read(blobPath(digest), 100), bytes)
    })
  }

  test('an image that is pushed meanwhile lacks nothing', async () => {
    const problems = await problemsWhere(
      ({ method, path }) => method === 'list' && path === linksRoot(name, 'manifests'),
      async (driver) => {
        const repository = openStore(driver).repository(name)
        await repository.tags.put(latest, digestOf(await pushImage(repository, ['config', 'new'])))
      },
    )
    assert.deepEqual(problems, [])
  })

  test('a blob that is deleted and swept meanwhile is not missed', async () => {
    const link = linkPath(name, 'blobs', digest)
    const problems = await problemsWhere(
      ({ method, path }) => method === 'stat' && path === blobPath(digest),
      async (driver) => {
        await driver.remove(link)
        await driver.remove(blobPath(digest))
      },
    )
    assert.deepEqual(problems, [])
  })

  test('a link and a tag that are deleted meanwhile are not damaged', async () => {
    for (const path of [linkPath(name, 'blobs', digest), tagCurrentPath(name, latest)]) {
      const problems = await problemsWhere(
        (call) => call.method === 'read' && call.path === path,
        async (driver) => await driver.remove(path),
      )
      assert.deepEqual(problems, [], path)
    }
  })
})

suite('verifying a storage', () => {
  test('what is set aside is forgotten where servers share what they know', async () => {
    const driver = inMemoryDriver()
    await openStore(driver).repository(name).blobs.put(Buffer.from('another'))
    await driver.write(blobPath(digest), wrong)
    const descriptors = facts()
    await descriptors.set('content', digest, blobDescriptor(digest, bytes.length))
    assert.deepEqual(await problemsIn(driver, { setAside: true, descriptors }), [
      `blob ${digest} is damaged, and set aside`,
    ])
    assert.equal(await descriptors.find('content', digest), undefined)
  })

  test('a blob that cannot be read is a problem of each repository that shows it', async () => {
    const driver = inMemoryDriver()
    await openStore(driver).repository(name).blobs.put(bytes)
    const blind = watchedDriver(driver, ({ method, path }) => {
      if (method === 'open' && path === blobPath(digest)) throw new DriverError('EIO', 'broken')
    })
    const [first, ...others] = await problemsIn(blind)
    assert.match(String(first), new RegExp(`^blob ${digest} cannot be read: .*broken`))
    assert.deepEqual(others, [`${name}: blob ${digest} is damaged`])
  })

  test('the sha512 of a manifest must be that of its bytes', async () => {
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    const other = digestOf(manifestOf('another'), 'sha512')
    await repository.blobs.put(Buffer.from('a'))
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    await driver.write(linkPath(name, 'manifests', other), Buffer.from(descriptor.digest))
    assert.deepEqual(await problemsIn(driver), [`${name}: manifest ${other} is damaged`])
  })

  test('a foreign layer need not be here', async () => {
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    const { config } = JSON.parse(image(['config']).toString()) as { config: unknown }
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
    const layers = [{ mediaType, digest: absent, size: 1, urls: ['https://elsewhere.example/'] }]
    const document = { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config, layers }
    await repository.blobs.put(layer('config'))
    await repository.manifests.put(Buffer.from(JSON.stringify(document)))
    assert.deepEqual(await problemsIn(driver), [])
  })
})

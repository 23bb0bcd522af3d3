import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { digestOf, hexOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { blobPath, linkPath, tagCurrentPath, tagFolder, tagIndexPath } from '../../src/storage/layout.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { hasError } from '../support/errors.ts'
import { absent, latest, listed, manifestOf, name, otherName, storageSuite } from './fixture.ts'

storageSuite('manifests', (check) => {
  check('what was put is read back, with its type from its bytes', async ({ repository, restart }) => {
    const bytes = manifestOf('a', mediaTypes.dockerManifest)
    const put = await repository.manifests.put(bytes, { mediaType: 'text/plain' })
    const descriptor = { mediaType: mediaTypes.dockerManifest, digest: digestOf(bytes), size: bytes.byteLength }
    assert.deepEqual(put.descriptor, descriptor)
    for (const { manifests } of [repository, restart().repository(name)]) {
      assert.deepEqual(await manifests.stat(descriptor.digest), descriptor)
      const got = await manifests.get(descriptor.digest)
      assert.deepEqual(got.descriptor, descriptor)
      assert.ok(bytes.equals(got.bytes))
    }
    await assert.rejects(repository.manifests.get(absent), hasError('MANIFEST_UNKNOWN'))
    await assert.rejects(repository.manifests.stat(absent), hasError('MANIFEST_UNKNOWN'))
  })

  check('bytes that the caller changes afterwards change nothing here', async ({ repository }) => {
    const bytes = manifestOf('a')
    const { descriptor } = await repository.manifests.put(bytes)
    bytes.fill(0)
    assert.equal(digestOf((await repository.manifests.get(descriptor.digest)).bytes), descriptor.digest)
  })

  check('it lies where distribution has it', async ({ repository, driver }) => {
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    const hex = hexOf(descriptor.digest)
    const link = `/docker/registry/v2/repositories/library/app/_manifests/revisions/sha256/${hex}/link`
    assert.equal((await driver.read(link, 100)).toString(), descriptor.digest)
    await repository.tags.put(latest, descriptor.digest)
    const tag = '/docker/registry/v2/repositories/library/app/_manifests/tags/latest'
    assert.equal((await driver.read(`${tag}/current/link`, 100)).toString(), descriptor.digest)
    assert.equal((await driver.read(`${tag}/index/sha256/${hex}/link`, 100)).toString(), descriptor.digest)
  })

  check(
    'what is no manifest, or not the one it was put as, is refused and leaves nothing',
    async ({ repository, driver }) => {
      const { manifests } = repository
      await assert.rejects(manifests.put(Buffer.from('{}')), hasError('MANIFEST_INVALID'))
      await assert.rejects(manifests.put(Buffer.from('no JSON')), hasError('MANIFEST_INVALID'))
      await assert.rejects(manifests.put(Buffer.alloc(4 * 1024 * 1024 + 1, ' ')), hasError('MANIFEST_INVALID'))
      await assert.rejects(manifests.put(manifestOf('a'), { digest: absent }), hasError('DIGEST_INVALID'))
      assert.equal(driver.calls.filter(({ method }) => method === 'write').length, 0)
    },
  )

  check('a manifest may be put and read by its sha512', async ({ repository, driver }) => {
    const bytes = manifestOf('a')
    const digest = digestOf(bytes, 'sha512')
    assert.equal((await repository.manifests.put(bytes, { digest })).descriptor.digest, digest)
    assert.equal((await driver.read(linkPath(name, 'manifests', digest), 200)).toString(), digestOf(bytes))
    const got = await repository.manifests.get(digest)
    assert.equal(got.descriptor.digest, digest)
    assert.ok(bytes.equals(got.bytes))
    await repository.tags.put(latest, digest)
    assert.equal((await repository.tags.resolve(latest)).digest, digest)
  })

  check('a manifest by its sha512 is not hashed at every hit', async ({ repository }) => {
    const digest = digestOf(manifestOf('a'), 'sha512')
    await repository.manifests.put(manifestOf('a'), { digest })
    await repository.manifests.get(digest)
    const real = crypto.createHash
    let hashes = 0
    const counting = (...args: Parameters<typeof real>): ReturnType<typeof real> => (hashes++, real(...args))
    Object.assign(crypto, { createHash: counting })
    syncBuiltinESMExports()
    try {
      await repository.manifests.get(digest)
    } finally {
      Object.assign(crypto, { createHash: real })
      syncBuiltinESMExports()
    }
    assert.equal(hashes, 0)
  })

  check('a link by sha512 to other content is never served', async ({ repository, driver }) => {
    const digest = digestOf(manifestOf('a'), 'sha512')
    await repository.manifests.put(manifestOf('a'), { digest })
    const { descriptor } = await repository.manifests.put(manifestOf('b'))
    await driver.write(linkPath(name, 'manifests', digest), Buffer.from(descriptor.digest))
    await assert.rejects(repository.manifests.get(digest), hasError('MANIFEST_UNKNOWN'))
  })

  check('P8: a manifest in memory still needs the link', async ({ store, repository }) => {
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    await repository.manifests.get(descriptor.digest)
    const other = store.repository(otherName).manifests
    await assert.rejects(other.get(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
    await other.put(manifestOf('a'))
    await repository.manifests.delete(descriptor.digest)
    await other.get(descriptor.digest)
    await assert.rejects(repository.manifests.get(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
    await assert.rejects(repository.manifests.stat(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
    await assert.rejects(repository.manifests.delete(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
  })

  check(
    'P6: a damaged, short or missing manifest is unknown, and putting it again mends it',
    async ({ repository, driver, restart, log }) => {
      const bytes = manifestOf('a')
      const { descriptor } = await repository.manifests.put(bytes)
      const damaged = Buffer.from(bytes)
      damaged[20] = 0x41
      const place = blobPath(descriptor.digest)
      const damages = [
        async () => await driver.write(place, damaged),
        async () => await driver.write(place, bytes.subarray(0, 40)),
        async () => await driver.write(place, Buffer.alloc(5 * 1024 * 1024)),
        async () => await driver.remove(place),
        async () => {
          await driver.remove(place)
          await driver.write(`${place}/folder`, Buffer.from('x'))
        },
      ]
      for (const damage of damages) {
        await damage()
        const { manifests } = restart().repository(name)
        await assert.rejects(manifests.stat(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
        await assert.rejects(manifests.get(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
        await manifests.put(bytes)
        const { manifests: again } = restart().repository(name)
        assert.ok(bytes.equals((await again.get(descriptor.digest)).bytes))
      }
      assert.ok(log.lines.every((line) => line['level'] !== 'error'))
    },
  )

  check(
    'P6: a fact about a manifest that is gone does not outlive its reading',
    async ({ repository, driver, descriptors }) => {
      const bytes = manifestOf('a')
      await repository.manifests.put(bytes)
      const restarted = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: silentLogger })
      const { manifests } = restarted.repository(name)
      const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.byteLength }
      await descriptors.set({ repository: name, kind: 'manifests' }, descriptor.digest, descriptor)
      await driver.remove(blobPath(descriptor.digest))
      await assert.rejects(manifests.get(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
      await assert.rejects(manifests.stat(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
    },
  )

  check('a hot manifest costs no call of the driver', async ({ repository, driver, clock }) => {
    clock.isStopped = true // its link is believed for a moment
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    await repository.manifests.get(descriptor.digest)
    await repository.manifests.get(descriptor.digest)
    driver.arm(0)
    await repository.manifests.get(descriptor.digest)
    await repository.manifests.stat(descriptor.digest)
    assert.deepEqual(driver.calls, [])
  })

  check('the list holds every manifest that is linked, and nothing else', async ({ repository, driver }) => {
    assert.deepEqual(await listed(repository.manifests.list()), [])
    const digests = []
    for (const text of ['a', 'b', 'c']) {
      digests.push((await repository.manifests.put(manifestOf(text))).descriptor.digest)
    }
    const [first, second, third] = digests
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    await repository.manifests.delete(second)
    await driver.write(linkPath(name, 'manifests', third), Buffer.from('garbage'))
    await driver.write(
      '/docker/registry/v2/repositories/library/app/_manifests/revisions/sha256/foreign',
      Buffer.from('x'),
    )
    assert.deepEqual(await listed(repository.manifests.list()), [first])
  })
})

storageSuite('tags', (check) => {
  check('a tag points at what it was put on last', async ({ repository: { manifests, tags } }) => {
    const first = await manifests.put(manifestOf('a'))
    const second = await manifests.put(manifestOf('b'))
    await tags.put(latest, first.descriptor.digest)
    await tags.put(latest, second.descriptor.digest)
    assert.deepEqual(await tags.resolve(latest), second.descriptor)
    assert.equal(await tags.find(latest), second.descriptor.digest)
  })

  check('the history is written before the tag moves', async ({ repository: { tags }, driver }) => {
    driver.arm(0)
    await tags.put(latest, absent)
    const written = driver.calls.filter(({ method }) => method === 'write').map(({ path }) => path)
    assert.deepEqual(written, [tagIndexPath(name, latest, absent), tagCurrentPath(name, latest)])
  })

  check('a tag without its manifest is found but not resolved', async ({ repository: { tags } }) => {
    await tags.put(latest, absent)
    assert.equal(await tags.find(latest), absent)
    await assert.rejects(tags.resolve(latest), hasError('MANIFEST_UNKNOWN'))
    await assert.rejects(tags.resolve(parseTag('none')), hasError('MANIFEST_UNKNOWN'))
    assert.equal(await tags.find(parseTag('none')), undefined)
  })

  check(
    'a damaged tag is missing, and is mended by tagging again',
    async ({ repository: { manifests, tags }, driver }) => {
      const { descriptor } = await manifests.put(manifestOf('a'))
      await tags.put(latest, descriptor.digest)
      for (const text of ['', 'sha256:', `${descriptor.digest} `]) {
        await driver.write(tagCurrentPath(name, latest), Buffer.from(text))
        assert.equal(await tags.find(latest), undefined)
        await assert.rejects(tags.resolve(latest), hasError('MANIFEST_UNKNOWN'))
        await tags.put(latest, descriptor.digest)
        assert.equal(await tags.find(latest), descriptor.digest)
      }
    },
  )

  check('tags are listed in byte order, from any place on', async ({ repository: { tags } }) => {
    for (const tag of ['b', 'a', 'B', '1.0', '1.0-rc', '_x']) await tags.put(parseTag(tag), absent)
    assert.deepEqual(await listed(tags.list()), ['1.0', '1.0-rc', 'B', '_x', 'a', 'b'])
    assert.deepEqual(await listed(tags.list({ after: 'B' })), ['_x', 'a', 'b'])
    assert.deepEqual(await listed(tags.list({ after: 'Z' })), ['_x', 'a', 'b'])
    assert.deepEqual(await listed(tags.list({ after: 'b' })), [])
  })

  check('more tags than are looked at together are all listed', async ({ repository: { tags } }) => {
    const names = Array.from({ length: 100 }, (_, index) => `v${String(index).padStart(3, '0')}`)
    await Promise.all(names.map(async (tag) => await tags.put(parseTag(tag), absent)))
    assert.deepEqual(await listed(tags.list()), names)
  })

  check('what is no tag, or only half of one, is not listed', async ({ repository: { tags }, driver }) => {
    await tags.put(latest, absent)
    await driver.write(`${tagFolder(name, parseTag('half'))}/index/sha256/x/link`, Buffer.from('x'))
    await driver.write(
      `/docker/registry/v2/repositories/library/app/_manifests/tags/.hidden/current/link`,
      Buffer.from('x'),
    )
    await driver.write(`/docker/registry/v2/repositories/library/app/_manifests/tags/file`, Buffer.from('x'))
    assert.deepEqual(await listed(tags.list()), ['latest'])
  })

  check(
    'the tags that point at a manifest now are found, not those that once did',
    async ({ repository: { tags } }) => {
      for (const tag of ['a', 'b', 'c']) await tags.put(parseTag(tag), absent)
      await tags.put(parseTag('b'), digestOf('moved on'))
      assert.deepEqual(await listed(tags.pointingAt(absent)), ['a', 'c'])
      assert.deepEqual(await listed(tags.pointingAt(digestOf('none'))), [])
    },
  )

  check('a repository without tags is NAME_UNKNOWN', async ({ store }) => {
    await assert.rejects(listed(store.repository(parseRepositoryName('none')).tags.list()), hasError('NAME_UNKNOWN'))
  })

  check('deleting a tag leaves its manifest', async ({ repository: { manifests, tags }, driver }) => {
    const { descriptor } = await manifests.put(manifestOf('a'))
    await tags.put(latest, descriptor.digest)
    await tags.delete(latest)
    assert.equal(await tags.find(latest), undefined)
    assert.deepEqual(await listed(tags.list()), [])
    await assert.rejects(tags.delete(latest), hasError('MANIFEST_UNKNOWN'))
    assert.deepEqual(await driver.list('/docker/registry/v2/repositories/library/app/_manifests/tags'), [])
    await manifests.get(descriptor.digest)
  })

  check('a tag is forgotten where deletion is disabled, and it is no matter where there is none', async (fixture) => {
    const { driver, descriptors, repository } = fixture
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    await repository.tags.put(latest, descriptor.digest)
    const closed = openLocalRegistry({ driver, descriptors, deleteEnabled: false, logger: silentLogger }).repository(
      name,
    )
    assert.equal(await closed.tags.forget(latest), true)
    assert.equal(await closed.tags.find(latest), undefined)
    assert.equal(await closed.tags.forget(latest), false)
    await closed.manifests.get(descriptor.digest)
  })

  check('nothing is deleted where deletion is disabled', async ({ driver, descriptors, repository }) => {
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    await repository.tags.put(latest, descriptor.digest)
    const blob = await repository.blobs.put(Buffer.from('blob'))
    const closed = openLocalRegistry({ driver, descriptors, deleteEnabled: false, logger: silentLogger }).repository(
      name,
    )
    await assert.rejects(closed.manifests.delete(descriptor.digest), hasError('UNSUPPORTED'))
    await assert.rejects(closed.tags.delete(latest), hasError('UNSUPPORTED'))
    await assert.rejects(closed.blobs.delete(blob.digest), hasError('UNSUPPORTED'))
    assert.equal((await closed.tags.resolve(latest)).digest, descriptor.digest)
    assert.equal((await closed.blobs.stat(blob.digest)).size, 4)
  })
})

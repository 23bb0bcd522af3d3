// What a collection of garbage keeps, and what it takes.
import assert from 'node:assert/strict'
import { dirname } from 'node:path'
import { PathNotFoundError } from '../../src/drivers/driver.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag, type RepositoryName, type Tag } from '../../src/oci/reference.ts'
import { aliasPath, blobFolder, blobPath, linkPath, tagCurrentPath, tagIndexPath } from '../../src/storage/layout.ts'
import { absent, chunksOf, latest, listed, name, otherName, push, storageSuite } from './fixture.ts'
import {
  assertWhole,
  collectIn,
  image,
  index,
  isManifestHere,
  layer,
  pushImage,
  storedLayers,
} from './garbage-fixture.ts'

const old: Tag = parseTag('old')
const hour = 3_600_000

storageSuite('garbage', (check) => {
  check('what a manifest names stays, what nothing names goes', async ({ repository, driver, restart }) => {
    const kept = await pushImage(repository, ['config', 'a', 'b'])
    await repository.tags.put(latest, digestOf(kept))
    await repository.blobs.put(layer('never named'))
    const gone = await pushImage(repository, ['config', 'c'])
    await repository.manifests.delete(digestOf(gone))
    const report = await collectIn(driver)
    assert.deepEqual(report.problems, [])
    assert.deepEqual([report.repositories, report.manifests, report.blobs], [1, 1, 4])
    const bytes = layer('never named').byteLength + layer('c').byteLength + gone.byteLength
    assert.deepEqual(report.removed, { manifests: 0, links: 2, blobs: 3, bytes })
    await assertWhole(restart().repository(name), digestOf(kept))
    assert.deepEqual(await storedLayers(restart(), ['config', 'a', 'b', 'c', 'never named']), ['config', 'a', 'b'])
    assert.deepEqual(await driver.list('/entrepot/swept'), [])
  })

  check('what a repository of an older registry links stays, whatever its name', async (fixture) => {
    const { repository, driver, restart } = fixture
    // Distribution 2 takes a first component like a host's name.
    const theirs = 'MyTeam/app' as RepositoryName
    const manifest = image(['config', 'a'])
    await driver.write(blobPath(digestOf(manifest)), manifest)
    await driver.write(linkPath(theirs, 'manifests', digestOf(manifest)), Buffer.from(digestOf(manifest)))
    for (const text of ['config', 'a', 'no longer named']) {
      await driver.write(blobPath(digestOf(layer(text))), layer(text))
      await driver.write(linkPath(theirs, 'blobs', digestOf(layer(text))), Buffer.from(digestOf(layer(text))))
    }
    await repository.blobs.put(layer('b'))
    const { problems, removed } = await collectIn(driver, { deleteUntagged: true })
    assert.deepEqual([problems, removed.links, removed.blobs], [[], 1, 1])
    assert.ok((await restart().content.find(digestOf(manifest))) !== undefined)
    const texts = ['config', 'a', 'no longer named']
    assert.deepEqual(await storedLayers(restart(), [...texts, 'b']), texts)
    for (const text of texts) await driver.stat(linkPath(theirs, 'blobs', digestOf(layer(text))))
  })

  check('a second collection finds nothing left to do', async ({ repository, driver }) => {
    await repository.blobs.put(layer('a'))
    await collectIn(driver)
    assert.deepEqual((await collectIn(driver)).removed, { manifests: 0, links: 0, blobs: 0, bytes: 0 })
  })

  check('what is younger than the grace stays', async ({ repository, store, driver, restart }) => {
    await repository.blobs.put(layer('linked'))
    await using fill = await store.content.receive({ digest: digestOf(layer('unlinked')) })
    await fill.append(chunksOf(layer('unlinked'), 8))
    await fill.commit(digestOf(layer('unlinked')))
    const untagged = await pushImage(repository, ['config'])
    const { removed } = await collectIn(driver, { grace: hour, deleteUntagged: true })
    assert.deepEqual(removed, { manifests: 0, links: 0, blobs: 0, bytes: 0 })
    await assertWhole(restart().repository(name), digestOf(untagged))
    assert.deepEqual(await storedLayers(restart(), ['linked', 'unlinked']), ['linked', 'unlinked'])
  })

  check('P7: however many links of blobs go, tags are read once', async ({ repository, driver }) => {
    const kept = await pushImage(repository, ['config', 'a'])
    const tags = Array.from({ length: 5 }, (_, at) => parseTag(`t${at}`))
    for (const tag of tags) await repository.tags.put(tag, digestOf(kept))
    for (let at = 0; at < 300; at++) {
      const digest = digestOf(`never stored ${at}`)
      await driver.write(linkPath(name, 'blobs', digest), Buffer.from(digest))
    }
    driver.arm(0)
    assert.equal((await collectIn(driver)).removed.links, 300)
    const paths = tags.map((tag) => tagCurrentPath(name, tag))
    const reads = driver.calls.filter(({ method, path }) => method === 'read' && paths.includes(path))
    assert.deepEqual(reads.map(({ path }) => path).toSorted(), paths)
  })

  check('a dry run says what would go, and touches nothing', async ({ repository, driver, restart }) => {
    const untagged = await pushImage(repository, ['config', 'a'])
    await repository.blobs.put(layer('b'))
    driver.arm(0)
    const { removed } = await collectIn(driver, { dryRun: true, deleteUntagged: true })
    assert.deepEqual([removed.manifests, removed.blobs], [1, 4])
    const writing = driver.calls.filter(({ method }) => ['write', 'writer', 'move', 'remove'].includes(method))
    assert.deepEqual(writing, [])
    await assertWhole(restart().repository(name), digestOf(untagged))
    const done = await collectIn(driver, { deleteUntagged: true })
    assert.deepEqual(done.removed, removed)
  })

  for (const deleteUntagged of [false, true]) {
    const how = deleteUntagged ? 'where untagged ones go' : 'where untagged ones stay'
    check(`children of an index stay with it, however deep, ${how}`, async ({ repository, driver, restart }) => {
      const amd = await pushImage(repository, ['amd config', 'a'])
      const arm = await pushImage(repository, ['arm config', 'a', 'b'])
      const inner = index([amd])
      const outer = index([inner, arm], mediaTypes.ociIndex)
      for (const manifest of [inner, outer]) await repository.manifests.put(manifest)
      await repository.tags.put(latest, digestOf(outer))
      await collectIn(driver, { deleteUntagged })
      for (const manifest of [outer, inner, amd, arm]) {
        await assertWhole(restart().repository(name), digestOf(manifest))
      }
    })

    check(`referrers stay with their subject, and a subject with its referrers, ${how}`, async (fixture) => {
      const { repository, driver, restart } = fixture
      const subject = await pushImage(repository, ['config', 'a'])
      const signature = await pushImage(repository, ['signature'], subject)
      const attestation = await pushImage(repository, ['attestation'], signature)
      await repository.tags.put(latest, digestOf(subject))
      const signed = await pushImage(repository, ['config', 'b'])
      const tagged = await pushImage(repository, ['its signature'], signed)
      await repository.tags.put(old, digestOf(tagged))
      await collectIn(driver, { deleteUntagged })
      for (const manifest of [subject, signature, attestation, signed, tagged]) {
        await assertWhole(restart().repository(name), digestOf(manifest))
      }
    })
  }

  check('the referrers of an untagged manifest go with it', async ({ repository, driver, restart }) => {
    const subject = await pushImage(repository, ['config', 'a'])
    const signature = await pushImage(repository, ['signature'], subject)
    const { removed } = await collectIn(driver, { deleteUntagged: true })
    assert.deepEqual([removed.manifests, removed.blobs], [2, 5])
    for (const manifest of [subject, signature]) {
      assert.equal(await isManifestHere(restart().repository(name), manifest), false)
    }
  })

  check('an untagged manifest goes with its place in the history of tags', async ({ repository, driver, restart }) => {
    const before = await pushImage(repository, ['config', 'a'])
    const now = await pushImage(repository, ['config', 'b'])
    await repository.tags.put(latest, digestOf(before))
    await repository.tags.put(latest, digestOf(now))
    const { removed } = await collectIn(driver, { deleteUntagged: true })
    assert.deepEqual([removed.manifests, removed.blobs], [1, 2])
    await assert.rejects(driver.stat(tagIndexPath(name, latest, digestOf(before))))
    await driver.stat(tagIndexPath(name, latest, digestOf(now)))
    assert.equal((await restart().repository(name).tags.resolve(latest)).digest, digestOf(now))
    await assertWhole(restart().repository(name), digestOf(now))
  })

  check('a blob stays as long as one repository needs it', async ({ store, repository, driver, restart }) => {
    const other = store.repository(otherName)
    const mine = await pushImage(repository, ['shared', 'mine'])
    const theirs = await pushImage(other, ['shared', 'theirs'])
    await repository.manifests.delete(digestOf(mine))
    await collectIn(driver)
    await assertWhole(restart().repository(otherName), digestOf(theirs))
    assert.deepEqual(await storedLayers(restart(), ['shared', 'mine', 'theirs']), ['shared', 'theirs'])
  })

  check(
    'a digest that another repository names without holding it hides nothing (untagged child of two indexes)',
    async (fixture) => {
      const { store, repository, driver, restart } = fixture
      const other = store.repository(parseRepositoryName('library/zzz'))
      const child = await pushImage(other, ['config', 'a'])
      const list = index([child])
      // Here the index has no child: it was pulled through, and only a part of it.
      await repository.manifests.put(list)
      await repository.tags.put(latest, digestOf(list))
      await other.manifests.put(list)
      await other.tags.put(latest, digestOf(list))
      await collectIn(driver, { deleteUntagged: true })
      await assertWhole(restart().repository(other.name), digestOf(list))
    },
  )

  check('what was pulled only in part is no trouble', async ({ repository, driver }) => {
    const list = index([image(['never pulled'])])
    await repository.manifests.put(list)
    await repository.manifests.put(image(['config', 'never pulled either']))
    await repository.blobs.put(layer('config'))
    const report = await collectIn(driver)
    assert.deepEqual([report.problems, report.isComplete, report.blobs], [[], true, 3])
    assert.equal(report.removed.blobs, 0)
  })

  check('layers that a cache index of BuildKit names stay', async ({ repository, driver, restart }) => {
    await repository.blobs.put(layer('a'))
    const cache = index([layer('a')], 'application/vnd.oci.image.layer.v1.tar')
    await repository.manifests.put(cache)
    await repository.tags.put(latest, digestOf(cache))
    await collectIn(driver, { deleteUntagged: true })
    assert.equal(
      (
        await restart()
          .repository(name)
          .blobs.stat(digestOf(layer('a')))
      ).size,
      layer('a').byteLength,
    )
  })

  check('what is named by sha512 stays under both digests', async ({ repository, driver, restart }) => {
    await using upload = await repository.uploads.create()
    await upload.append(chunksOf(layer('a'), 8))
    const digest = digestOf(layer('a'), 'sha512')
    await upload.commit(digest)
    const descriptor = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: layer('a').byteLength }
    const manifest = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptor, layers: [] }),
    )
    const byOther = digestOf(manifest, 'sha512')
    await repository.manifests.put(manifest, { digest: byOther })
    await repository.tags.put(latest, byOther)
    await driver.stat(aliasPath(byOther))
    await collectIn(driver, { deleteUntagged: true })
    const fresh = restart().repository(name)
    assert.equal((await fresh.manifests.get(byOther)).bytes.byteLength, manifest.byteLength)
    assert.equal((await fresh.blobs.stat(digest)).size, layer('a').byteLength)
    assert.equal((await fresh.blobs.stat(digestOf(layer('a')))).size, layer('a').byteLength)
  })

  check('by which other digest a blob was known goes with it, or later', async ({ repository, driver, restart }) => {
    const sha512 = (text: string): Digest => digestOf(layer(text), 'sha512')
    for (const text of ['config', 'gone', 'taken']) {
      await using upload = await repository.uploads.create()
      await upload.append(chunksOf(layer(text), 8))
      await upload.commit(sha512(text))
    }
    await pushImage(repository, ['config', 'taken'])
    await driver.write(aliasPath(sha512('torn')), Buffer.from('sha2'))
    await driver.remove(blobFolder(digestOf(layer('taken')))) // as eviction does
    const texts = ['config', 'gone', 'taken', 'torn']
    const known = async (): Promise<string[]> => {
      const found = await Promise.all(
        texts.map(async (text) => await driver.list(dirname(aliasPath(sha512(text)))).catch(() => [])),
      )
      return texts.filter((_, at) => (found[at] ?? []).length > 0)
    }
    await collectIn(driver, { dryRun: true })
    await collectIn(driver, { grace: hour })
    assert.deepEqual(await known(), texts)
    const { problems, removed } = await collectIn(driver)
    assert.deepEqual([problems, removed.blobs], [[], 1])
    assert.deepEqual(await known(), ['config'])
    await assert.rejects(driver.stat(dirname(aliasPath(sha512('gone')))), PathNotFoundError)
    assert.equal((await restart().content.stat(sha512('config'))).size, layer('config').byteLength)
  })

  check('the layers of a schema 1 manifest stay', async ({ repository, driver, restart }) => {
    const digest = await push(repository, layer('a'))
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 1, name, fsLayers: [{ blobSum: digest }] }))
    await driver.write(blobPath(digestOf(manifest)), manifest)
    await driver.write(linkPath(name, 'manifests', digestOf(manifest)), Buffer.from(digestOf(manifest)))
    await repository.blobs.put(layer('b'))
    const { problems, removed } = await collectIn(driver)
    assert.deepEqual([problems, removed.blobs], [[], 1])
    assert.deepEqual(await storedLayers(restart(), ['a', 'b']), ['a'])
  })

  check('P6: where a manifest cannot be understood, its repository keeps all and others do not', async (fixture) => {
    const { store, repository, driver, restart } = fixture
    const other = store.repository(otherName)
    for (const [what, bytes] of [
      ['not understood', Buffer.from('{"schemaVersion":7}')],
      ['not understood', Buffer.from('<html>')],
      ['not understood', Buffer.from('{"schemaVersion":2,"mediaType":"a/b","layers":[{"digest":"sha384:00"}]}')],
      ['not stored', undefined],
      ['damaged', image(['damaged'])],
    ] as const) {
      const digest = what === 'damaged' ? digestOf(what) : bytes === undefined ? absent : digestOf(bytes)
      if (bytes !== undefined) await driver.write(blobPath(digest), bytes)
      await driver.write(linkPath(name, 'manifests', digest), Buffer.from(digest))
      const untagged = await pushImage(repository, ['config', 'a'])
      await repository.blobs.put(layer('b'))
      await other.blobs.put(layer('c'))
      const { problems, isComplete, removed } = await collectIn(driver, { deleteUntagged: true })
      assert.equal(problems.length, 1, what)
      assert.match(problems.join(), new RegExp(what))
      assert.deepEqual([isComplete, removed.manifests, removed.links], [true, 0, 1])
      await assertWhole(restart().repository(name), digestOf(untagged))
      assert.deepEqual(await storedLayers(restart(), ['a', 'b', 'c']), ['a', 'b'])
      await repository.manifests.delete(digest)
    }
  })

  check('a damaged tag is no reason to take what it may have named', async ({ repository, driver, restart }) => {
    const manifest = await pushImage(repository, ['config', 'a'])
    await repository.tags.put(latest, digestOf(manifest))
    await driver.write(tagCurrentPath(name, latest), Buffer.from(''))
    const { problems } = await collectIn(driver, { deleteUntagged: true })
    assert.match(problems.join(), /tag latest is damaged/)
    await assertWhole(restart().repository(name), digestOf(manifest))
  })

  check('tags that point nowhere stay, and disturb nobody', async ({ repository, driver }) => {
    const manifest = await pushImage(repository, ['config'])
    await repository.tags.put(latest, digestOf(manifest))
    await repository.tags.put(old, absent)
    const { problems, removed } = await collectIn(driver, { deleteUntagged: true })
    assert.deepEqual([problems, removed.blobs], [[], 0])
    assert.deepEqual(await listed(repository.tags.list()), ['latest', 'old'])
  })

  check('blobs of a repository that has no manifest yet count as linked', async ({ store, driver, restart }) => {
    const digest = await push(store.repository(otherName), layer('a'))
    const { removed } = await collectIn(driver, { grace: hour })
    assert.equal(removed.blobs, 0)
    assert.equal((await restart().repository(otherName).blobs.stat(digest)).digest, digest)
  })

  check('uploads are none of its business', async ({ repository, driver, restart }) => {
    const upload = await repository.uploads.create()
    await upload.append(chunksOf(layer('a'), 8))
    await upload.close()
    await collectIn(driver)
    await using resumed = await restart().repository(name).uploads.resume(upload.id)
    assert.equal(resumed.size, layer('a').byteLength)
  })

  check('a storage without repositories is refused, whatever blobs it holds', async ({ driver, store }) => {
    await assert.rejects(collectIn(driver), { name: 'GarbageError' })
    await using fill = await store.content.receive({ digest: digestOf(layer('a')) })
    await fill.append(chunksOf(layer('a'), 8))
    await fill.commit(digestOf(layer('a')))
    await assert.rejects(collectIn(driver), { name: 'GarbageError' })
    assert.deepEqual(await storedLayers(store, ['a']), ['a'])
  })
})

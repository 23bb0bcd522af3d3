import assert from 'node:assert/strict'
import { DriverError } from '../../src/drivers/driver.ts'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { fallbackTag, type Referrer } from '../../src/oci/referrer.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { blobPath, linkPath, readManifestsPath, referrerPath, upstreamReferrersPath } from '../../src/storage/layout.ts'
import { happening, watchedDriver } from '../support/faulty-driver.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { bytesOf, listedAs, referrerDocument, sbomType } from '../support/referrers.ts'
import { absent, listed, manifestOf, name, openStore, otherName, storageSuite } from './fixture.ts'

const subject = digestOf(manifestOf('an image'))
const root = '/entrepot/referrers'

async function put(repository: WritableRepository, document: unknown): Promise<Referrer> {
  const bytes = bytesOf(document)
  await repository.manifests.put(bytes)
  return listedAs(bytes)
}

function inOrder(referrers: readonly Referrer[]): Referrer[] {
  return referrers.toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
}

async function digestsOf(repository: WritableRepository, of: Digest = subject): Promise<Digest[]> {
  return (await listed(repository.referrers.list(of))).map(({ digest }) => digest)
}

storageSuite('referrers', (check) => {
  check(
    'a manifest with a subject is listed under it, with what it says of itself',
    async ({ repository, restart }) => {
      const signature = await put(repository, referrerDocument(subject, 'a'))
      const sbom = await put(repository, referrerDocument(subject, 'b', { artifactType: sbomType }))
      const { artifactType, ...index } = referrerDocument(subject, 'c')
      const { config, layers, ...children } = index
      assert.ok(artifactType !== undefined && config !== undefined && layers !== undefined)
      const without = await put(repository, { ...children, mediaType: mediaTypes.ociIndex, manifests: [] })
      await repository.manifests.put(manifestOf('no subject'))
      await put(repository, referrerDocument(absent, 'elsewhere'))
      for (const { referrers } of [repository, restart().repository(name)]) {
        assert.deepEqual(await listed(referrers.list(subject)), inOrder([signature, sbom, without]))
      }
    },
  )

  check(
    'nothing is listed where nothing is, and nothing is left behind by asking',
    async ({ store, repository, driver }) => {
      await put(store.repository(otherName), referrerDocument(subject, 'a'))
      for (const asked of [subject, absent]) assert.deepEqual(await digestsOf(repository, asked), [])
      assert.ok(!driver.calls.some(({ method, path }) => method === 'write' && path.startsWith(`${root}/${name}`)))
    },
  )

  check('one that is pushed again while it is deleted is listed', async ({ driver, repository, restart }) => {
    const document = referrerDocument(subject, 'a')
    const { digest } = await put(repository, document)
    const path = referrerPath(name, subject, digest)
    const busy = happening(
      driver,
      (call) => call.method === 'remove' && call.path === path,
      async () => void (await put(restart().repository(name), document)),
    )
    const other = openStore(busy.driver).repository(name)
    assert.deepEqual(await digestsOf(other), [digest])
    await other.manifests.delete(digest)
    assert.ok(busy.hasHappened())
    assert.deepEqual(await digestsOf(other), [digest])
  })

  check('P3: they are listed also where nothing can be written, and each is read once then', async (fixture) => {
    const { repository, driver } = fixture
    const listedBefore = await put(repository, referrerDocument(subject, 'a'))
    const found = await put(repository, referrerDocument(subject, 'b'))
    await driver.remove(root)
    let isFull = true
    let reads = 0
    const full = watchedDriver(driver, ({ method, path }) => {
      if (isFull && method === 'write') throw new DriverError('EROFS', `${path} cannot be written`)
      if (method === 'read' && path === blobPath(found.digest)) reads++
    })
    const { logger, lines } = recordingLogger()
    const other = openStore(full, undefined, undefined, logger).repository(name)
    const wanted = inOrder([listedBefore, found])
    for (let round = 0; round < 3; round++) assert.deepEqual(await listed(other.referrers.list(subject)), wanted)
    assert.deepEqual(await digestsOf(other, absent), [])
    assert.equal(reads, 1)
    assert.deepEqual(
      lines.map((line) => [line['msg'], line['repository']]),
      [['the index of referrers cannot be written, and is kept in memory', name]],
    )
    isFull = false
    assert.deepEqual(await listed(openStore(full).repository(name).referrers.list(subject)), wanted)
    assert.ok(driver.calls.some(({ method, path }) => method === 'write' && path === readManifestsPath(name)))
  })

  check('a referrer can be deleted from a full disk, and pushed again when there is room', async ({ driver }) => {
    let isFull = false
    const filling = watchedDriver(driver, ({ method, path }) => {
      if (isFull && method === 'write') throw new DriverError('ENOSPC', `there is no room for ${path}`)
    })
    const bytes = bytesOf(referrerDocument(subject, 'a'))
    await openStore(filling).repository(name).manifests.put(bytes)
    const { logger, lines } = recordingLogger()
    const repository = openStore(filling, undefined, undefined, logger).repository(name)
    assert.equal((await digestsOf(repository)).length, 1)
    isFull = true
    await repository.manifests.delete(digestOf(bytes))
    assert.deepEqual(
      lines.map(({ msg, digest }) => [msg, digest]),
      [['a deleted manifest is left in the index of referrers', digestOf(bytes)]],
    )
    assert.deepEqual(await digestsOf(repository), [])
    isFull = false
    await openStore(driver).repository(name).manifests.put(bytes)
    for (const one of [repository, openStore(driver).repository(name)]) {
      assert.deepEqual(await digestsOf(one), [digestOf(bytes)])
    }
  })

  check('P7: what an upstream has said of a manifest goes with it', async ({ repository, driver }) => {
    const image = await repository.manifests.put(manifestOf('an image'))
    const other = await repository.manifests.put(manifestOf('another one'))
    for (const { descriptor } of [image, other]) {
      await repository.referrers.keep(descriptor.digest, [listedAs(bytesOf(referrerDocument(subject, 'a')))])
    }
    await repository.manifests.delete(image.descriptor.digest)
    assert.equal(await repository.referrers.find(image.descriptor.digest), undefined)
    assert.deepEqual(await driver.list(`${root}/${name}/_upstream/sha256`), [hexOf(other.descriptor.digest)])
  })

  check('a subject and a referrer may be named by sha512', async ({ repository }) => {
    const of = digestOf(manifestOf('an image'), 'sha512')
    const bytes = bytesOf(referrerDocument(of, 'a'))
    const digest = digestOf(bytes, 'sha512')
    await repository.manifests.put(bytes, { digest })
    assert.deepEqual(await listed(repository.referrers.list(of)), [listedAs(bytes, digest)])
    assert.deepEqual(await digestsOf(repository), [])
  })

  check('a list goes on after any digest', async ({ repository }) => {
    const all: Referrer[] = []
    for (let index = 0; index < 70; index++) all.push(await put(repository, referrerDocument(subject, `${index}`)))
    const sorted = inOrder(all)
    assert.deepEqual(await listed(repository.referrers.list(subject)), sorted)
    const after = sorted[40]?.digest
    assert.deepEqual(await listed(repository.referrers.list(subject, { after })), sorted.slice(41))
  })

  check(
    'a referrer that is deleted is gone from the list at once, and comes back when it is pushed again',
    async (fixture) => {
      const { repository, driver, restart } = fixture
      const one = await put(repository, referrerDocument(subject, 'a'))
      const two = await put(repository, referrerDocument(subject, 'b'))
      await repository.manifests.delete(one.digest)
      await assert.rejects(driver.stat(referrerPath(name, subject, one.digest)), { name: 'PathNotFoundError' })
      for (const open of [repository, restart().repository(name)]) assert.deepEqual(await digestsOf(open), [two.digest])
      await put(repository, referrerDocument(subject, 'a'))
      assert.equal((await digestsOf(repository)).length, 2)
    },
  )

  check('a referrer whose manifest is gone, damaged or about something else is not listed', async (fixture) => {
    const { repository, driver } = fixture
    const one = await put(repository, referrerDocument(subject, 'a'))
    const two = await put(repository, referrerDocument(subject, 'b'))
    await driver.write(blobPath(one.digest), Buffer.from('damaged'))
    for (const stranger of [absent, digestOf(manifestOf('an image'))]) {
      await driver.write(referrerPath(name, subject, stranger), Buffer.from(stranger))
    }
    await driver.write(`${root}/${name}/_subjects/sha256/${subject.slice(7)}/no-digest`, Buffer.from('x'))
    assert.deepEqual(await digestsOf(openStore(driver).repository(name)), [two.digest])
    await repository.manifests.delete(one.digest)
  })

  check('P2: a push that fails at any call leaves no manifest that is not listed', async ({ repository, driver }) => {
    const bytes = bytesOf(referrerDocument(subject, 'a'))
    const digest = digestOf(bytes)
    for (let nth = 1, isOver = false; !isOver; nth++) {
      driver.arm(0)
      await driver
        .remove('/docker')
        .then(async () => await driver.remove('/entrepot'))
        .catch(() => {})
      const reader = openStore(driver).repository(name)
      assert.deepEqual(await digestsOf(reader), [])
      driver.arm(nth)
      await repository.manifests.put(bytes).catch(() => {})
      isOver = driver.calls.length < nth
      driver.arm(0)
      const isStored = (await listed(reader.manifests.list())).includes(digest)
      assert.deepEqual(await digestsOf(reader), isStored ? [digest] : [])
    }
  })
})

storageSuite('the index of referrers', (check) => {
  check('P9: it may be thrown away at any time, and is made again from the manifests', async (fixture) => {
    const { repository, driver, restart } = fixture
    const all: Digest[] = []
    for (const text of ['a', 'b', 'c']) all.push((await put(repository, referrerDocument(subject, text))).digest)
    const expected = all.toSorted()
    assert.deepEqual(await digestsOf(repository), expected)
    await driver.remove(root)
    assert.deepEqual(await digestsOf(repository), expected)
    await driver.remove('/entrepot')
    assert.deepEqual(await digestsOf(restart().repository(name)), expected)
  })

  check('what another registry has put into the tree is found, each manifest read once', async (fixture) => {
    const { repository, driver, restart } = fixture
    const tree = openStore(driver).repository(name)
    const one = (await put(tree, referrerDocument(subject, 'a'))).digest
    await tree.manifests.put(manifestOf('an image'))
    await driver.remove(root)
    assert.deepEqual(await digestsOf(repository), [one])
    // It is given back, and taken over again.
    const two = (await put(tree, referrerDocument(subject, 'b'))).digest
    await driver.remove(referrerPath(name, subject, two))
    const again = restart().repository(name)
    driver.arm(0)
    assert.deepEqual(await digestsOf(again, absent), [])
    const read = driver.calls.filter(
      ({ method, path }) => method === 'read' && path.startsWith('/docker/registry/v2/blobs'),
    )
    assert.deepEqual(
      read.map(({ path }) => path),
      [blobPath(two)],
    )
    assert.deepEqual(await digestsOf(again), [one, two].toSorted())
  })

  for (const texts of [['a'], ['a', 'b']]) {
    const what = texts.length === 1 ? 'the only manifest' : 'one of several'
    check(`a referrer that was deleted, ${what}, is found when another registry puts it back`, async (fixture) => {
      const { repository, driver, restart } = fixture
      const all: Digest[] = []
      for (const text of texts) all.push((await put(repository, referrerDocument(subject, text))).digest)
      const [one = absent] = all
      assert.deepEqual(await digestsOf(repository), all.toSorted())
      await repository.manifests.delete(one)
      await driver.write(linkPath(name, 'manifests', one), Buffer.from(one))
      assert.deepEqual(await digestsOf(restart().repository(name)), all.toSorted())
    })

    check(`so it is, ${what}, where a process has looked for it meanwhile`, async (fixture) => {
      const { repository, driver, restart } = fixture
      const all: Digest[] = []
      for (const text of texts) all.push((await put(repository, referrerDocument(subject, text))).digest)
      const [one = absent, ...others] = all
      assert.deepEqual(await digestsOf(repository), all.toSorted())
      await repository.manifests.delete(one)
      assert.deepEqual(await digestsOf(restart().repository(name)), others)
      await driver.write(linkPath(name, 'manifests', one), Buffer.from(one))
      assert.deepEqual(await digestsOf(restart().repository(name)), all.toSorted())
    })
  }

  check('P9: so it is where the deletion fails at any call', async ({ driver, restart }) => {
    const bytes = bytesOf(referrerDocument(subject, 'a'))
    const digest = digestOf(bytes)
    for (let nth = 1, isOver = false; !isOver; nth++) {
      driver.arm(0)
      const { manifests, referrers } = restart().repository(name)
      await manifests.put(bytes)
      assert.equal((await listed(referrers.list(subject))).length, 1)
      driver.arm(nth)
      await manifests.delete(digest).catch(() => {})
      isOver = driver.calls.length < nth
      driver.arm(0)
      await driver.write(linkPath(name, 'manifests', digest), Buffer.from(digest))
      assert.deepEqual(await digestsOf(restart().repository(name)), [digest])
    }
  })

  check('many that are deleted at once are all found when they are put back', async (fixture) => {
    const { repository, driver, restart } = fixture
    const all: Digest[] = []
    for (let index = 0; index < 20; index++) {
      all.push((await put(repository, referrerDocument(subject, `${index}`))).digest)
    }
    assert.deepEqual(await digestsOf(repository), all.toSorted())
    await Promise.all(all.map(async (digest) => await repository.manifests.delete(digest)))
    for (const digest of all) await driver.write(linkPath(name, 'manifests', digest), Buffer.from(digest))
    assert.deepEqual(await digestsOf(restart().repository(name)), all.toSorted())
  })

  check('P4: many who ask while it is made wait for one making', async ({ repository, driver, restart }) => {
    for (let index = 0; index < 40; index++) await repository.manifests.put(manifestOf(`${index}`))
    const one = (await put(repository, referrerDocument(subject, 'a'))).digest
    await driver.remove(root)
    const { referrers } = restart().repository(name)
    driver.arm(0)
    const answers = await Promise.all(Array.from({ length: 50 }, async () => await listed(referrers.list(subject))))
    for (const answer of answers)
      assert.deepEqual(
        answer.map(({ digest }) => digest),
        [one],
      )
    const reads = driver.calls.filter(({ method, path }) => method === 'read' && path.includes('/blobs/'))
    assert.equal(reads.length, 41)
  })

  check('one that could not be made is made by the next who asks', async ({ repository, driver, restart }) => {
    const one = (await put(repository, referrerDocument(subject, 'a'))).digest
    for (let nth = 1, isOver = false; !isOver; nth++) {
      driver.arm(0)
      await driver.remove(root)
      const reader = restart().repository(name)
      driver.arm(nth)
      await digestsOf(reader).catch(() => {})
      isOver = driver.calls.length < nth
      driver.arm(0)
      assert.deepEqual(await digestsOf(reader), [one])
    }
  })

  check('a repository within another one has an index of its own', async ({ store, repository }) => {
    const inner = store.repository(parseRepositoryName(`${name}/subjects/sha256`))
    const one = (await put(repository, referrerDocument(subject, 'a'))).digest
    const two = (await put(inner, referrerDocument(subject, 'b'))).digest
    assert.deepEqual(await digestsOf(repository), [one])
    assert.deepEqual(await digestsOf(inner), [two])
  })

  check('a list of manifests that is damaged costs reading them again', async ({ repository, driver, restart }) => {
    const one = (await put(repository, referrerDocument(subject, 'a'))).digest
    await digestsOf(repository)
    await driver.remove(root)
    await driver.write(readManifestsPath(name), Buffer.from('\u0000garbage'))
    assert.deepEqual(await digestsOf(restart().repository(name)), [one])
  })
})

storageSuite('the tag that clients kept referrers under', (check) => {
  check('its entries that are here are in the list, once, and go when they are deleted', async ({ repository }) => {
    const known = await put(repository, referrerDocument(subject, 'a'))
    const { subject: _, ...document } = referrerDocument(subject, 'b')
    const tagged = await put(repository, document)
    const elsewhere = await put(repository, referrerDocument(absent, 'c'))
    const gone = listedAs(bytesOf(referrerDocument(subject, 'never pushed')))
    const index = bytesOf({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: [known, tagged, elsewhere, gone, known],
    })
    await repository.tags.put(fallbackTag(subject), (await repository.manifests.put(index)).descriptor.digest)
    assert.deepEqual(await listed(repository.referrers.list(subject)), inOrder([known, tagged]))
    await repository.manifests.delete(tagged.digest)
    assert.deepEqual(await digestsOf(repository), [known.digest])
  })

  check('one that points at nothing, or at no index, adds nothing', async ({ repository }) => {
    const known = await put(repository, referrerDocument(subject, 'a'))
    for (const target of [absent, (await repository.manifests.put(manifestOf('an image'))).descriptor.digest]) {
      await repository.tags.put(fallbackTag(subject), target)
      assert.deepEqual(await digestsOf(repository), [known.digest])
    }
  })
})

storageSuite('what an upstream said of referrers', (check) => {
  const said = [listedAs(bytesOf(referrerDocument(subject, 'a'))), listedAs(bytesOf(referrerDocument(subject, 'b')))]

  check('it is kept as it was said, beside what is stored here', async ({ repository, restart }) => {
    assert.equal(await repository.referrers.find(subject), undefined)
    await repository.referrers.keep(subject, said)
    for (const { referrers } of [repository, restart().repository(name)]) {
      assert.deepEqual(await referrers.find(subject), said)
      assert.deepEqual(await listed(referrers.list(subject)), [])
    }
    await repository.referrers.keep(subject, [])
    assert.deepEqual(await repository.referrers.find(subject), [])
  })

  check('P9: a torn list counts as none', async ({ repository, driver, log }) => {
    await repository.referrers.keep(subject, said)
    await driver.write(upstreamReferrersPath(name, subject), Buffer.from('{"manifests":[{"dig'))
    assert.equal(await repository.referrers.find(subject), undefined)
    assert.ok(log.lines.some((line) => line['msg'] === 'damaged list of referrers ignored'))
  })
})

import assert from 'node:assert/strict'
import { collect } from '../../src/bytes/stream.ts'
import { algorithmOf, digestOf, hexOf, parseDigest, type Digest } from '../../src/oci/digest.ts'
import { RangeNotSatisfiableError } from '../../src/oci/error.ts'
import { blobPath, damagedPath, linkPath } from '../../src/storage/layout.ts'
import { pattern } from '../drivers/conformance.ts'
import { hasError } from '../support/errors.ts'
import { absent, chunksOf, name, otherName, push, storageSuite } from './fixture.ts'

const mebibyte = 1024 * 1024

storageSuite('blobs', (check) => {
  check('what was put is linked, stat and read back, whole and in ranges', async ({ repository: { blobs } }) => {
    const bytes = pattern(300_000)
    const put = await blobs.put(bytes)
    assert.deepEqual(put, { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: 300_000 })
    assert.deepEqual(await blobs.stat(put.digest), put)
    const whole = await blobs.open(put.digest)
    assert.deepEqual(whole.descriptor, put)
    assert.deepEqual(whole.range, { start: 0, end: 300_000 })
    assert.ok((await collect(whole.body, mebibyte)).equals(bytes))
    const part = await blobs.open(put.digest, { range: { start: 10, end: 20 } })
    assert.deepEqual(part.range, { start: 10, end: 20 })
    assert.ok((await collect(part.body, mebibyte)).equals(bytes.subarray(10, 20)))
    const last = await blobs.open(put.digest, { range: { suffix: 5 } })
    assert.ok((await collect(last.body, mebibyte)).equals(bytes.subarray(-5)))
    await assert.rejects(blobs.open(put.digest, { range: { start: 300_000 } }), RangeNotSatisfiableError)
  })

  check('the empty blob is a blob', async ({ repository: { blobs }, restart }) => {
    const { digest } = await blobs.put(new Uint8Array())
    const { body, range } = await restart().repository(name).blobs.open(digest)
    assert.deepEqual(range, { start: 0, end: 0 })
    assert.equal((await collect(body, 0)).byteLength, 0)
  })

  check('the tree is distribution’s, byte for byte', async ({ repository, driver }) => {
    const digest = await push(repository, Buffer.from('layer'))
    const hex = hexOf(digest)
    const data = `/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`
    const link = `/docker/registry/v2/repositories/library/app/_layers/sha256/${hex}/link`
    assert.equal((await driver.read(data, 100)).toString(), 'layer')
    assert.equal((await driver.read(link, 100)).toString(), `sha256:${hex}`)
    assert.deepEqual(await driver.list('/docker/registry/v2/repositories/library/app/_uploads'), [])
  })

  check('P8: without a link nothing is seen, whoever else has stored it', async ({ store, repository }) => {
    const digest = await push(repository, Buffer.from('private'))
    const other = store.repository(otherName).blobs
    await repository.blobs.stat(digest) // remembered here
    await assert.rejects(other.stat(digest), hasError('BLOB_UNKNOWN'))
    await assert.rejects(other.open(digest), hasError('BLOB_UNKNOWN'))
    assert.equal((await store.content.stat(digest)).size, 7)
  })

  check('a manifest is no blob of its repository, nor a blob a manifest', async ({ repository }) => {
    const bytes = Buffer.from('{"schemaVersion":2,"config":{"digest":"' + absent + '","size":1},"layers":[]}')
    const { descriptor } = await repository.manifests.put(bytes)
    await repository.manifests.stat(descriptor.digest)
    await assert.rejects(repository.blobs.stat(descriptor.digest), hasError('BLOB_UNKNOWN'))
    const blob = await repository.blobs.put(Buffer.concat([bytes, Buffer.from(' ')]))
    await repository.blobs.stat(blob.digest)
    await assert.rejects(repository.manifests.get(blob.digest), hasError('MANIFEST_UNKNOWN'))
  })

  check(
    'linking shows a stored blob, as often as one likes, and nothing that is not stored',
    async ({ store, repository }) => {
      const digest = await push(repository, Buffer.from('shared'))
      const other = store.repository(otherName).blobs
      await other.link(digest)
      assert.equal((await other.link(digest)).size, 6)
      assert.equal((await collect((await other.open(digest)).body, 10)).toString(), 'shared')
      await assert.rejects(other.link(absent), hasError('BLOB_UNKNOWN'))
    },
  )

  check('T-46: linking believes storage, not what is remembered', async ({ store, repository, driver }) => {
    const digest = await push(repository, Buffer.from('soon gone'))
    assert.ok(await store.content.find(digest))
    await driver.remove(blobPath(digest))
    await assert.rejects(store.repository(otherName).blobs.link(digest), hasError('BLOB_UNKNOWN'))
    assert.equal(await store.content.find(digest), undefined)
  })

  check('deleting takes the link away and keeps the bytes', async ({ store, repository }) => {
    const digest = await push(repository, Buffer.from('to be deleted'))
    await store.repository(otherName).blobs.link(digest)
    await repository.blobs.stat(digest)
    await repository.blobs.delete(digest)
    await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
    await assert.rejects(repository.blobs.delete(digest), hasError('BLOB_UNKNOWN'))
    assert.equal((await store.repository(otherName).blobs.stat(digest)).size, 13)
    assert.equal((await store.content.stat(digest)).size, 13)
    await repository.blobs.link(digest)
    assert.equal((await repository.blobs.stat(digest)).size, 13)
  })

  check(
    'CVE-2026-35172: what is deleted here stays deleted when another repository learns of it',
    async ({ store, repository }) => {
      const digest = await push(repository, Buffer.from('revoked'))
      const other = store.repository(otherName).blobs
      await other.link(digest)
      await repository.blobs.stat(digest)
      await repository.blobs.delete(digest)
      await other.stat(digest)
      await collect((await other.open(digest)).body, 100)
      await store.content.stat(digest)
      await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
      await assert.rejects(repository.blobs.open(digest), hasError('BLOB_UNKNOWN'))
    },
  )

  check(
    'a link that is removed while it is being looked up is not remembered',
    async ({ repository, driver, descriptors }) => {
      const digest = await push(repository, Buffer.from('racing'))
      const set = descriptors.set.bind(descriptors)
      descriptors.set = async (scope, ...fact) => {
        if (scope !== 'content') await driver.remove(linkPath(name, 'blobs', digest)) // another process deletes
        await set(scope, ...fact)
      }
      await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
      descriptors.set = set
      await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
    },
  )

  check(
    'a link that is empty, garbage, or names other content is no link, and is mended',
    async ({ repository, driver, log, restart }) => {
      const digest = await push(repository, Buffer.from('content'))
      const elsewhere = await push(repository, Buffer.from('elsewhere'))
      const path = linkPath(name, 'blobs', digest)
      for (const text of ['', 'garbage', `${digest}\n`, elsewhere, 'sha512:12', 'x'.repeat(5000)]) {
        await driver.write(path, Buffer.from(text))
        const { blobs } = restart().repository(name)
        await assert.rejects(blobs.stat(digest), hasError('BLOB_UNKNOWN'), text)
        await blobs.link(digest)
        assert.equal((await blobs.stat(digest)).size, 7)
      }
      await driver.write(path, Buffer.from('garbage'))
      await repository.blobs.link(digest)
      await driver.remove(path)
      await driver.write(`${path}/folder`, Buffer.from('x'))
      const { blobs } = restart().repository(name)
      await assert.rejects(blobs.stat(digest), hasError('BLOB_UNKNOWN'))
      await blobs.link(digest)
      assert.equal((await blobs.stat(digest)).size, 7)
      assert.ok(log.lines.every((line) => line['level'] !== 'error'))
    },
  )

  check('whoever sees the link of its sha512 finds that of its sha256 too', async ({ store, repository, driver }) => {
    const bytes = Buffer.from('two names')
    const digest = digestOf(bytes, 'sha512')
    await using upload = await store.content.receive({ digest })
    await upload.append(chunksOf(bytes, 10))
    await upload.commit(digest)
    driver.arm(0)
    await repository.blobs.link(digest)
    const links = [digestOf(bytes), digest].map((one) => linkPath(name, 'blobs', one))
    const written = driver.calls.filter(({ method, path }) => method === 'write' && links.includes(path))
    assert.deepEqual(
      written.map(({ path }) => path),
      links,
    )
  })

  check('a blob can be known by its sha512 as well', async ({ store, repository, driver }) => {
    const bytes = Buffer.from('two names')
    const digest = digestOf(bytes, 'sha512')
    assert.equal(algorithmOf(digest), 'sha512')
    await using upload = await repository.uploads.create()
    await upload.append(streamed(bytes))
    assert.equal((await upload.commit(digest)).digest, digest)
    assert.equal((await driver.read(linkPath(name, 'blobs', digest), 200)).toString(), digestOf(bytes))
    assert.equal((await repository.blobs.stat(digest)).digest, digest)
    assert.equal((await repository.blobs.stat(digestOf(bytes))).size, 9)
    const open = await repository.blobs.open(digest)
    assert.equal(open.descriptor.digest, digest)
    assert.ok((await collect(open.body, 100)).equals(bytes))
    const other = store.repository(otherName).blobs
    assert.equal((await other.link(digest)).digest, digest)
    assert.ok((await collect((await other.open(digest)).body, 100)).equals(bytes))
    assert.equal(await store.content.find(parseDigest(`sha512:${'0'.repeat(128)}`)), undefined)
  })
})

storageSuite('blobs that storage has lost or damaged (P1, P6)', (check) => {
  const damages: readonly (readonly [what: string, damage: (bytes: Buffer) => Buffer])[] = [
    ['cut short', (bytes) => bytes.subarray(0, bytes.byteLength / 2)],
    ['empty', () => Buffer.alloc(0)],
    ['longer', (bytes) => Buffer.concat([bytes, Buffer.from('!')])],
    ['changed at its beginning', (bytes) => flipped(bytes, 0)],
    ['changed in the middle', (bytes) => flipped(bytes, bytes.byteLength / 2)],
    ['changed at its end', (bytes) => flipped(bytes, bytes.byteLength - 1)],
  ]

  for (const [size, kind] of [
    [mebibyte, 'blob'],
    [1000, 'small blob'],
  ] as const) {
    for (const [what, damage] of damages) {
      check(`a ${kind} that is ${what} is never read to its end, and heals by a push`, async (fixture) => {
        const { repository, driver, restart } = fixture
        const bytes = pattern(size)
        const digest = await push(repository, bytes)
        await collect((await repository.blobs.open(digest)).body, size) // remembered and proven
        for (const store of ['running', 'restarted']) {
          await driver.write(blobPath(digest), damage(bytes))
          const { blobs, uploads } = store === 'running' ? repository : restart().repository(name)
          await assert.rejects(async () => await collect((await blobs.open(digest)).body, 2 * size), store)
          await assert.rejects(blobs.stat(digest), hasError('BLOB_UNKNOWN'), store)
          await assert.rejects(blobs.open(digest, { range: { start: 5, end: 9 } }), hasError('BLOB_UNKNOWN'), store)
          await using upload = await uploads.create()
          await upload.append(streamed(bytes))
          await upload.commit(digest)
          assert.ok((await collect((await blobs.open(digest)).body, size)).equals(bytes), store)
        }
      })

      check(`a range of a ${kind} that is ${what} is never read to its end`, async (fixture) => {
        const { repository, driver, restart } = fixture
        const bytes = pattern(size)
        const digest = await push(repository, bytes)
        await driver.write(blobPath(digest), damage(bytes))
        for (const { blobs } of [repository, restart().repository(name)]) {
          const range = { start: 0, end: 1 }
          await assert.rejects(async () => await collect((await blobs.open(digest, { range })).body, 1))
          await assert.rejects(blobs.stat(digest), hasError('BLOB_UNKNOWN'))
        }
      })
    }
  }

  check(
    'a blob whose file is gone is unknown from then on, and heals by a push',
    async ({ repository, driver, store }) => {
      const bytes = pattern(1000)
      const digest = await push(repository, bytes)
      await repository.blobs.stat(digest)
      await driver.remove(blobPath(digest))
      await assert.rejects(repository.blobs.open(digest), hasError('BLOB_UNKNOWN'))
      await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
      assert.equal(await store.content.find(digest), undefined)
      await push(repository, bytes)
      assert.ok((await collect((await repository.blobs.open(digest)).body, 1000)).equals(bytes))
    },
  )

  check('a folder in the place of a blob is no blob, and heals by a push', async ({ repository, driver, restart }) => {
    const bytes = pattern(1000)
    for (const heal of [
      async () => void (await push(repository, bytes)),
      async () => void (await repository.blobs.put(bytes)),
    ]) {
      const digest = await push(repository, bytes)
      await repository.blobs.stat(digest)
      await driver.remove(blobPath(digest))
      await driver.write(`${blobPath(digest)}/inner`, Buffer.from('x'))
      await assert.rejects(repository.blobs.open(digest), hasError('BLOB_UNKNOWN'))
      await assert.rejects(restart().repository(name).blobs.stat(digest), hasError('BLOB_UNKNOWN'))
      await heal()
      assert.ok((await collect((await repository.blobs.open(digest)).body, 1000)).equals(bytes))
    }
  })

  check('T-46: storage is right where what is remembered is wrong', async ({ repository, descriptors, store }) => {
    const bytes = pattern(1000)
    const digest = await push(repository, bytes)
    const wrong = { mediaType: 'application/octet-stream', digest, size: 999 }
    await descriptors.set('content', digest, wrong)
    await descriptors.set({ repository: name, kind: 'blobs' }, digest, wrong)
    const open = await repository.blobs.open(digest)
    assert.equal(open.descriptor.size, 1000)
    assert.ok((await collect(open.body, 1000)).equals(bytes))
    assert.equal((await repository.blobs.stat(digest)).size, 1000)
    assert.equal((await store.content.stat(digest)).size, 1000)
  })

  check(
    'a blob that is pushed again takes the place of wrong bytes, as many as they are',
    async ({ driver, restart }) => {
      const bytes = pattern(100)
      await driver.write(blobPath(digestOf(bytes)), flipped(bytes, 3))
      await push(restart().repository(name), bytes)
      assert.ok((await driver.read(blobPath(digestOf(bytes)), 100)).equals(bytes))
    },
  )

  check('damaged bytes are set aside, not thrown away', async ({ repository, driver }) => {
    const digest = await push(repository, pattern(100))
    const damaged = flipped(pattern(100), 3)
    await driver.write(blobPath(digest), damaged)
    await assert.rejects(async () => await collect((await repository.blobs.open(digest)).body, 100))
    assert.ok((await driver.read(damagedPath(digest), 100)).equals(damaged))
  })

  check('content that is proven is not hashed again', async ({ store, repository, driver }) => {
    const readFirst = async (digest: Digest): Promise<number> => {
      driver.arm(0)
      await collect((await repository.blobs.open(digest, { range: { start: 0, end: 9 } })).body, 10)
      return driver.calls.filter(({ method }) => method === 'open').length
    }
    const filled = pattern(mebibyte)
    const digest = digestOf(filled)
    await using fill = await store.content.receive({ digest })
    await fill.append(chunksOf(filled, mebibyte))
    await fill.commit(digest)
    await repository.blobs.link(digest)
    assert.equal(await readFirst(digest), 1)

    // Another server may have had a hand in what is pushed: it is proven by its first reader.
    const pushed = await push(repository, pattern(mebibyte + 1))
    assert.equal(await readFirst(pushed), 2)
    await collect((await repository.blobs.open(pushed)).body, 2 * mebibyte)
    assert.equal(await readFirst(pushed), 1)
  })

  check('P4: many ranges of an unproven blob read it once', async ({ repository, driver, restart }) => {
    const bytes = pattern(mebibyte)
    const digest = await push(repository, bytes)
    const { blobs } = restart().repository(name)
    await blobs.stat(digest)
    driver.arm(0)
    const opened = await Promise.all(
      Array.from({ length: 10 }, async (_, at) => {
        const { body } = await blobs.open(digest, { range: { start: at, end: at + 1 } })
        return await collect(body, 1)
      }),
    )
    assert.ok(Buffer.concat(opened).equals(bytes.subarray(0, 10)))
    assert.ok(driver.calls.filter(({ method }) => method === 'open').length <= 10 + 10 + 1)
  })

  check('a medium that fails is not absence', async ({ repository, driver, restart }) => {
    const digest = await push(repository, pattern(1000))
    const { blobs } = restart().repository(name)
    for (let nth = 1; nth <= 3; nth++) {
      driver.arm(nth)
      await assert.rejects(restart().repository(name).blobs.stat(digest), { name: 'UnreadableError' })
    }
    await blobs.stat(digest)
    driver.arm(1, 'EACCES')
    await assert.rejects(blobs.open(digest), { name: 'UnreadableError' })
    driver.arm(0)
    assert.equal((await blobs.stat(digest)).size, 1000)
  })
})

async function* streamed(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes
}

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}

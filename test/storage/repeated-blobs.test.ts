import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MemoryFile } from '../../src/bytes/memory-file.ts'
import { collect } from '../../src/bytes/stream.ts'
import type { FileStat, OpenFile } from '../../src/drivers/driver.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import type { OpenBlob } from '../../src/registry/source.ts'
import { Content } from '../../src/storage/content.ts'
import { blobPath } from '../../src/storage/layout.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { RepeatedBlobs, type LentBlob } from '../../src/storage/repeated-blobs.ts'
import { streamOf } from '../support/stream-of.ts'
import { name, storageSuite } from './fixture.ts'

const mebibyte = 1024 * 1024

/** A blob room with a clock, and files whose versions the test changes. */
class Shelf {
  now = 0
  readonly versions = new Map<Digest, string>()
  stats = 0
  /** Those that are open. */
  readonly files = new Set<MemoryFile>()
  /** Whether there can be files in memory. */
  hasFiles = false
  readonly blobs: RepeatedBlobs

  constructor() {
    const stat = async (digest: Digest): Promise<FileStat | undefined> => {
      this.stats++
      const version = this.versions.get(digest)
      return version === undefined ? undefined : { kind: 'file', size: 0, modified: new Date(), version }
    }
    this.blobs = new RepeatedBlobs({ now: () => this.now, stat }, { create: (bytes) => this.#createFile(bytes) })
  }

  file(bytes: Uint8Array, before: () => void = () => {}): OpenFile {
    const { [Symbol.asyncDispose]: dispose } = streamOf()
    const half = bytes.byteLength / 2
    async function* read(): AsyncGenerator<Uint8Array, void> {
      yield bytes.subarray(0, half)
      before()
      yield bytes.subarray(half)
    }
    const digest = digestOf(bytes)
    if (!this.versions.has(digest)) this.versions.set(digest, 'one')
    const version = this.versions.get(digest) ?? ''
    return { size: bytes.byteLength, version, [Symbol.asyncIterator]: read, [Symbol.asyncDispose]: dispose }
  }

  /** On a disk here; to whoever reads it that is the same. */
  #createFile(bytes: Uint8Array): MemoryFile | undefined {
    if (!this.hasFiles) return undefined
    const path = join(tmpdir(), `entrepot-${randomUUID()}`)
    writeFileSync(path, bytes)
    let fd = openSync(path, 'r')
    rmSync(path)
    const file: MemoryFile = {
      isInMemory: true,
      get fd() {
        return fd
      },
      [Symbol.dispose]: () => {
        assert.ok(this.files.delete(file), 'closed once')
        closeSync(fd)
        fd = -1
      },
    }
    this.files.add(file)
    return file
  }

  /** Asks for it twice, as those do who ask again and again. */
  async keep(bytes: Uint8Array): Promise<LentBlob | undefined> {
    const first = await this.blobs.keep(digestOf(bytes), this.file(bytes))
    assert.ok(first === undefined)
    return await this.blobs.keep(digestOf(bytes), this.file(bytes))
  }

  async lend(bytes: Uint8Array): Promise<LentBlob | undefined> {
    return await this.blobs.lend({ mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: bytes.byteLength })
  }

  async has(bytes: Uint8Array): Promise<boolean> {
    using lent = await this.lend(bytes)
    return lent !== undefined
  }
}

/** Without a description of a mebibyte where they differ. */
async function isSame(lent: LentBlob | undefined, bytes: Uint8Array): Promise<boolean> {
  if (lent === undefined) return false
  const parts = [
    { start: 0, end: 70_000 },
    { start: 70_000, end: bytes.byteLength },
  ]
  const read = await Promise.all(parts.map(async (part) => await collect(lent.read(part), bytes.byteLength)))
  return Buffer.concat(read).equals(bytes)
}

test('what was lent can be lent again, without a look at its file, as long as it is kept', async () => {
  for (const hasFiles of [false, true]) {
    const shelf = new Shelf()
    shelf.hasFiles = hasFiles
    const bytes = randomBytes(mebibyte)
    const first = await shelf.keep(bytes)
    first?.[Symbol.dispose]()
    const again = first?.again()
    assert.ok(await isSame(again, bytes))
    assert.equal(shelf.stats, 0)
    shelf.blobs.forget(digestOf(bytes))
    assert.equal(first?.again(), undefined)
    assert.equal(again?.again(), undefined)
    assert.ok(await isSame(again, bytes), 'who has it reads on')
    again?.[Symbol.dispose]()
    assert.equal(shelf.files.size, 0)
    if (first !== undefined && !hasFiles) {
      const left = await collect(first.read({ start: 0, end: mebibyte }), mebibyte)
      assert.equal(left.byteLength, 0, 'whoever still knows of it keeps nothing in memory')
    }
    using anew = await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))
    assert.ok(anew !== undefined)
    assert.equal(first?.again(), undefined, 'that is another reading')
  }
})

test('a blob that is asked for a second time within a second is kept, and its file seen twice a second', async () => {
  const shelf = new Shelf()
  const bytes = randomBytes(mebibyte)
  assert.ok((await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))) === undefined)
  shelf.now += 1001
  assert.ok((await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))) === undefined, 'that was too long ago')
  assert.equal(await shelf.has(bytes), false)
  shelf.now += 1000
  using first = await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))
  assert.ok(await isSame(first, bytes))
  shelf.now += 499
  using again = await shelf.lend(bytes)
  assert.ok(await isSame(again, bytes))
  assert.equal(shelf.stats, 0)
  shelf.now += 1
  assert.ok(await shelf.has(bytes))
  assert.equal(shelf.stats, 1)
  const larger = randomBytes(mebibyte + 1)
  assert.ok((await shelf.keep(larger)) === undefined)
})

test('P3, P6: a file that has gone, or is another one, is noticed within half a second', async () => {
  for (const version of [undefined, 'two']) {
    const shelf = new Shelf()
    const bytes = randomBytes(100_000)
    using lent = await shelf.keep(bytes)
    if (version === undefined) shelf.versions.delete(digestOf(bytes))
    else shelf.versions.set(digestOf(bytes), version)
    shelf.now += 499
    assert.ok(await shelf.has(bytes))
    shelf.now += 1
    assert.equal(await shelf.has(bytes), false)
    assert.ok(await isSame(lent, bytes), 'who has them keeps them')
  }
})

test('what is forgotten is not there any more, also where it was just being read', async () => {
  const shelf = new Shelf()
  const bytes = randomBytes(100_000)
  using _ = await shelf.keep(bytes)
  shelf.blobs.forget(digestOf(bytes))
  assert.equal(await shelf.has(bytes), false)
  const forgetting = shelf.file(bytes, () => shelf.blobs.forget(digestOf(bytes)))
  using lent = await shelf.blobs.keep(digestOf(bytes), forgetting)
  assert.ok(await isSame(lent, bytes))
  assert.equal(await shelf.has(bytes), false)
})

test('a file that cannot be read to its end is not kept, and takes no room', async () => {
  const shelf = new Shelf()
  const bytes = randomBytes(mebibyte)
  const failure = new Error('no')
  const failing = (): OpenFile =>
    shelf.file(bytes, () => {
      throw failure
    })
  await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))
  for (let time = 0; time < 40; time++) await assert.rejects(shelf.blobs.keep(digestOf(bytes), failing()), failure)
  using lent = await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))
  assert.ok(lent)
})

test('P7: all that is kept and lent has 32 MiB, and what is in use makes no room', async () => {
  const shelf = new Shelf()
  const blobs = Array.from({ length: 40 }, (_, nth) => Buffer.alloc(mebibyte, nth))
  const keepAll = async (): Promise<(LentBlob | undefined)[]> => {
    const all: (LentBlob | undefined)[] = []
    for (const blob of blobs) all.push(await shelf.keep(blob))
    return all
  }
  const lent = await keepAll()
  assert.equal(lent.filter((one) => one !== undefined).length, 32)
  shelf.now += 5000
  for (const blob of blobs) shelf.blobs.forget(digestOf(blob))
  assert.ok(
    (await keepAll()).every((one) => one === undefined),
    'somebody still reads what was forgotten',
  )
  for (const one of lent.splice(0, 3)) one?.[Symbol.dispose]()
  shelf.now += 5000
  assert.equal((await keepAll()).filter((one) => one !== undefined).length, 3)
})

test('P7: it counts right, whenever a blob is forgotten that is just being lent', async () => {
  const shelf = new Shelf()
  const forgotten = Buffer.alloc(mebibyte, 'f')
  for (let ticks = 0; ticks < 8; ticks++) {
    ;(await shelf.keep(forgotten))?.[Symbol.dispose]()
    const lending = shelf.lend(forgotten)
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
    shelf.blobs.forget(digestOf(forgotten))
    ;(await lending)?.[Symbol.dispose]()
    shelf.now += 5000
  }
  let kept = 0
  for (let nth = 0; nth < 36; nth++) if ((await shelf.keep(Buffer.alloc(mebibyte, nth))) !== undefined) kept++
  assert.equal(kept, 32)
})

test('what is kept moves to a file in memory as soon as there can be one, which is closed when nobody reads it', async () => {
  const shelf = new Shelf()
  const bytes = randomBytes(mebibyte)
  const early = await shelf.keep(bytes)
  assert.ok(early?.read({ start: 0, end: 1 }).transferTo === undefined)
  const before = early?.read({ start: 0, end: mebibyte })
  shelf.hasFiles = true
  const late = await shelf.lend(bytes)
  using again = await shelf.lend(bytes)
  assert.equal(shelf.files.size, 1)
  assert.ok(late?.read({ start: 0, end: 1 }).transferTo !== undefined)
  for (const lent of [early, late, again]) assert.ok(await isSame(lent, bytes))
  assert.ok(before !== undefined && (await collect(before, mebibyte)).equals(bytes), 'who was reading it')
  early?.[Symbol.dispose]()
  late?.[Symbol.dispose]()
  assert.equal(shelf.files.size, 1)
  shelf.blobs.forget(digestOf(bytes))
  assert.ok(await isSame(again, bytes), 'who has them keeps them')
  assert.equal(shelf.files.size, 1)
  again?.[Symbol.dispose]()
  assert.equal(shelf.files.size, 0)
  using next = await shelf.keep(randomBytes(mebibyte))
  assert.ok(next?.read({ start: 0, end: 1 }).transferTo !== undefined, 'from the beginning')
  assert.equal(shelf.files.size, 1)
})

test('one that is forgotten while it is being read leaves no file behind', async () => {
  const shelf = new Shelf()
  shelf.hasFiles = true
  const bytes = randomBytes(mebibyte)
  await shelf.blobs.keep(digestOf(bytes), shelf.file(bytes))
  const forgetting = shelf.file(bytes, () => shelf.blobs.forget(digestOf(bytes)))
  const lent = await shelf.blobs.keep(digestOf(bytes), forgetting)
  assert.ok(await isSame(lent, bytes))
  lent?.[Symbol.dispose]()
  assert.equal(shelf.files.size, 0)
})

test('P1: one that is believed to have another size is not lent, and read anew', async () => {
  const shelf = new Shelf()
  shelf.hasFiles = true
  const bytes = randomBytes(mebibyte)
  using _ = await shelf.keep(bytes)
  const known = { mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: mebibyte - 1 }
  assert.equal(await shelf.blobs.lend(known), undefined)
  assert.equal(await shelf.has(bytes), false)
})

test('one that was not asked for lately makes room for another', async () => {
  const shelf = new Shelf()
  const blobs = Array.from({ length: 33 }, (_, nth) => Buffer.alloc(mebibyte, nth))
  const [first, second, third, ...others] = blobs
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  for (const blob of blobs.slice(0, 32)) (await shelf.keep(blob))?.[Symbol.dispose]()
  const last = others.at(-1) ?? first
  assert.ok((await shelf.keep(last)) === undefined, 'all were asked for a moment ago')
  shelf.now += 1001
  assert.ok(await shelf.has(first))
  ;(await shelf.keep(last))?.[Symbol.dispose]()
  const isThere = [await shelf.has(first), await shelf.has(second), await shelf.has(third), await shelf.has(last)]
  assert.deepEqual(isThere, [true, false, true, true], 'no more than it needs')
})

storageSuite('blobs that are asked for again and again', (check) => {
  check('are served without their file, whole and in parts, until they are deleted', async (fixture) => {
    const { driver, clock, repository, store } = fixture
    const bytes = randomBytes(300_000)
    const { digest } = await repository.blobs.put(bytes)
    clock.isStopped = true
    const read = async (range?: { start: number; end: number }): Promise<Buffer> => {
      const { body } = await store.repository(name).blobs.open(digest, range && { range })
      const chunks: Uint8Array[] = []
      for await (const chunk of body) chunks.push(Buffer.from(chunk))
      return Buffer.concat(chunks)
    }
    for (let time = 0; time < 3; time++) assert.ok((await read()).equals(bytes))
    const opened = driver.calls.length
    assert.ok((await read()).equals(bytes))
    assert.deepEqual(await read({ start: 10, end: 20 }), bytes.subarray(10, 20))
    assert.deepEqual(driver.calls.slice(opened), [])
    await repository.blobs.delete(digest)
    await assert.rejects(read(), { code: 'BLOB_UNKNOWN' })
  })
  check(
    'take room only while they are kept, also when they are read to their end and then disposed',
    async (fixture) => {
      const { driver, clock, repository, store } = fixture
      clock.isStopped = true
      const read = async (digest: Digest): Promise<void> => {
        await using body = (await store.repository(name).blobs.open(digest)).body
        for await (const _ of body);
      }
      for (let nth = 0; nth < 40; nth++) {
        const { digest } = await repository.blobs.put(Buffer.alloc(mebibyte, nth))
        for (let time = 0; time < 3; time++) await read(digest)
        const opened = driver.calls.length
        await read(digest)
        assert.deepEqual(driver.calls.slice(opened), [])
        clock.isStopped = false
        for (let step = 0; step < 3; step++) clock.now()
        clock.isStopped = true
      }
    },
  )
  check('are not read for those who are sent elsewhere', async ({ driver, descriptors, log, clock, repository }) => {
    const redirect = (path: string): Promise<URL> => Promise.resolve(new URL(path, 'http://127.0.0.1'))
    const { logger } = log
    const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger, now: clock.now, redirect })
    const { digest } = await repository.blobs.put(randomBytes(300_000))
    const open = async (canRedirect: boolean): Promise<OpenBlob> =>
      await store.repository(name).blobs.open(digest, { canRedirect })
    for await (const _ of (await open(false)).body); // it is proven from here on
    const before = driver.calls.length
    for (let time = 0; time < 3; time++) {
      const { body, location } = await open(true)
      assert.ok(location !== undefined)
      await body[Symbol.asyncDispose]()
    }
    assert.equal(driver.calls.slice(before).filter(({ method }) => method === 'chunk').length, 0)
  })
  check('are forgotten at once where their file is set aside', async ({ driver, descriptors, log, clock }) => {
    clock.isStopped = true
    const { logger } = log
    const store = openLocalRegistry({
      driver,
      descriptors,
      deleteEnabled: true,
      logger,
      now: clock.now,
      verify: 'never',
    })
    const { blobs } = store.repository(name)
    const bytes = randomBytes(300_000)
    const { digest } = await blobs.put(bytes)
    const read = async (): Promise<Buffer> => await collect((await blobs.open(digest)).body, bytes.byteLength)
    const wrong = Buffer.alloc(bytes.byteLength)
    await driver.write(blobPath(digest), wrong)
    for (let time = 0; time < 3; time++) assert.ok((await read()).equals(wrong), 'as it lies')
    assert.ok(store.content instanceof Content)
    const checked = await store.content.reader.check(digest, (file) => file)
    assert.equal(checked?.isRight, false)
    await blobs.put(bytes)
    assert.ok((await read()).equals(bytes))
  })
  check('are given back where it fails to tell where else they are', async (fixture) => {
    const { driver, descriptors, log, clock } = fixture
    clock.isStopped = true
    const failure = new Error('no key')
    const redirect = (): Promise<URL> => Promise.reject(failure)
    const { logger } = log
    const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger, now: clock.now, redirect })
    const { blobs } = store.repository(name)
    const { digest } = await blobs.put(randomBytes(300_000))
    const fail = async (): Promise<void> => {
      await assert.rejects(blobs.open(digest, { canRedirect: true }), failure)
      assert.equal(store.isInUse(digest), false)
    }
    for await (const _ of (await blobs.open(digest)).body); // it is proven from here on
    await fail()
    for await (const _ of (await blobs.open(digest)).body); // it is kept from here on
    await fail()
  })
})

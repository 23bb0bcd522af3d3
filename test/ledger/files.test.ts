// The ledger's files: torn, old, someone else's, or not to be had at all. Content is served and kept within its bounds.
import assert from 'node:assert/strict'
import { cp, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { seeded } from '../support/seeded.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { blobBytes, Clocks, isHere, keep, layerOf, makeKept, start, storeImage, type Kept } from './fixture.ts'

const hour = 60 * 60_000

/** A folder with three images, of which the first was used last; and the file that says so. */
async function makeFolder(): Promise<Awaited<ReturnType<typeof makeKept>> & { readonly file: string }> {
  const made = await makeKept()
  const app = made.kept.repository('hub/app')
  const images = []
  for (const tag of ['a', 'b', 'c']) {
    made.clocks.pass(hour)
    images.push(await storeImage(app, tag, [layerOf(tag)]))
  }
  made.clocks.pass(hour)
  made.kept.recorder.used(parseRepositoryName('hub/app'), images[0]?.digest ?? assert.fail())
  await made.kept[Symbol.asyncDispose]()
  return Object.assign(made, { file: join(made.folder, 'entrepot/ledger.sqlite') })
}

async function tagsOf({ repository }: Kept): Promise<string[]> {
  const left = []
  for (const tag of ['a', 'b', 'c']) if (await isHere(repository('hub/app').tags.resolve(parseTag(tag)))) left.push(tag)
  return left
}

async function logged(kept: Kept, message: string): Promise<void> {
  while (!kept.lines.some(({ msg }) => msg === message)) await new Promise(setImmediate)
}

suite('the files of the ledger', () => {
  test('last uses are remembered across a restart', async () => {
    await using made = await makeFolder()
    await using again = await keep(made.folder, made.clocks, { maxSize: 12_000 })
    assert.deepEqual(await tagsOf(again), ['a'])
    assert.ok(!again.lines.some(({ level }) => level === 'warn'))
  })

  test('they are not for everybody to read (T-74)', async () => {
    await using made = await makeKept()
    await storeImage(made.kept.repository('hub/app'), 'a', [layerOf('a')])
    made.kept.recorder.flush()
    for (const name of ['ledger.sqlite', 'ledger.sqlite-wal', 'census.sqlite']) {
      assert.equal((await stat(join(made.folder, 'entrepot', name))).mode & 0o007, 0, name)
    }
  })

  const damages: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
    ['empty', () => Buffer.alloc(0)],
    ['garbage', (bytes) => Buffer.alloc(bytes.byteLength, 'garbage ')],
    ['all zeros', (bytes) => Buffer.alloc(bytes.byteLength)],
    ['null', () => Buffer.from('null')],
    ['torn in its first page', (bytes) => bytes.subarray(0, 1000)],
    ['torn after its first page', (bytes) => bytes.subarray(0, 4096)],
    ['torn in the middle', (bytes) => bytes.subarray(0, bytes.byteLength / 2)],
    [
      'zeroed behind its first page',
      (bytes) => Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(bytes.byteLength - 4096)]),
    ],
  ]
  for (const [what, damage] of damages) {
    test(`P9: a ledger that is ${what} is made again (T-41)`, async () => {
      await using made = await makeFolder()
      await writeFile(made.file, damage(await readFile(made.file)))
      await using again = await keep(made.folder, made.clocks, { maxSize: 35_000 })
      assert.deepEqual(await tagsOf(again), ['a', 'b', 'c'])
      made.clocks.pass(hour)
      await storeImage(again.repository('hub/app'), 'd', [layerOf('d', 20_000)])
      made.clocks.pass(hour)
      await again.evictor.run()
      assert.ok((await blobBytes(made.folder)) <= 35_000)
    })
  }

  test('P9: whatever bytes are in it, it starts (T-41)', async () => {
    await using made = await makeFolder()
    const whole = await readFile(made.file)
    for (let seed = 0; seed < 15; seed++) {
      const random = seeded(seed)
      const bytes = Buffer.from(whole)
      for (let count = random.int(40) + 1; count > 0; count--) bytes[random.int(bytes.byteLength)] = random.int(256)
      await writeFile(made.file, random.oneIn(3) ? bytes.subarray(0, random.int(bytes.byteLength)) : bytes)
      await using again = await keep(made.folder, made.clocks, { maxSize: 40_000 })
      assert.deepEqual(await tagsOf(again), ['a', 'b', 'c'], `seed ${seed}`)
    }
  })

  test('a ledger of another version, or with other tables, is thrown away', async () => {
    for (const change of ['PRAGMA user_version = 99', 'DROP TABLE uses; CREATE TABLE uses (other TEXT)']) {
      await using made = await makeFolder()
      const database = new DatabaseSync(made.file)
      database.exec(change)
      database.close()
      await using again = await keep(made.folder, made.clocks, { maxSize: 35_000 })
      assert.ok(
        again.lines.some(({ msg }) => msg === 'damaged ledger thrown away'),
        change,
      )
      assert.deepEqual(await tagsOf(again), ['a', 'b', 'c'])
    }
  })

  test('a ledger that fails while it is used is made again', async () => {
    await using made = await makeFolder()
    await using again = await keep(made.folder, made.clocks, { maxSize: 35_000 })
    await truncate(join(made.folder, 'entrepot/census.sqlite'), 5000)
    for (let number = 0; number < 3000; number++) {
      again.recorder.note({
        kind: 'tagged',
        repository: parseRepositoryName(`hub/app-${number}`),
        tag: parseTag('v1'),
        digest: await storedDigest(again),
      })
    }
    await logged(again, 'ledger failed, and is made again')
    made.clocks.pass(hour)
    await storeImage(again.repository('hub/app'), 'd', [layerOf('d', 20_000)])
    made.clocks.pass(hour)
    await again.evictor.run()
    assert.ok((await blobBytes(made.folder)) <= 35_000)
  })

  test('P9: where no file can be made, it is kept in memory', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'file'), '')
    const clocks = new Clocks()
    await using kept = await keep(folder.path, clocks, { folder: join(folder.path, 'file/ledger'), maxSize: 20_000 })
    for (const tag of ['a', 'b', 'c']) {
      await storeImage(kept.repository('hub/app'), tag, [layerOf(tag)])
      clocks.pass(hour)
    }
    await kept.evictor.run()
    assert.deepEqual(await tagsOf(kept), ['c'])
  })

  test('a folder whose name is no repository to us stays, and costs the ledger nothing', async () => {
    await using made = await makeFolder()
    const repositories = join(made.folder, 'docker/registry/v2/repositories')
    await cp(join(repositories, 'hub/app'), join(repositories, 'hub/My_App'), { recursive: true })
    made.clocks.pass(hour)
    await using again = await keep(made.folder, made.clocks, { maxSize: 1000 })
    assert.ok(!again.lines.some(({ msg }) => String(msg).includes('ledger')), JSON.stringify(again.lines))
    assert.deepEqual(await tagsOf(again), [])
    assert.ok((await blobBytes(made.folder)) >= 30_000)
  })

  test('a server that is about to end evicts nothing more, and lets nobody else (P3)', async () => {
    await using made = await makeKept({ maxSize: 1000 })
    made.kept.evictor.rest()
    await storeImage(made.kept.repository('hub/app'), 'a', [layerOf('a')])
    made.clocks.pass(hour)
    await made.kept.evictor.run()
    await using second = start(made.folder, made.clocks, { maxSize: 1 })
    await logged(second, 'nothing is evicted: another process keeps the ledger')
    assert.deepEqual(await tagsOf(second), ['a'])
  })

  test('two servers on one folder: the second one evicts nothing as long as the first one does', async () => {
    await using made = await makeKept({ maxSize: 1_000_000 })
    await storeImage(made.kept.repository('hub/app'), 'a', [layerOf('a')])
    made.clocks.pass(hour)
    await using second = start(made.folder, made.clocks, { maxSize: 1 })
    await logged(second, 'nothing is evicted: another process keeps the ledger')
    assert.deepEqual(await tagsOf(second), ['a'])
  })

  test('what another process has put into the folder meanwhile is known before anything goes', async () => {
    await using made = await makeFolder()
    {
      await using other = await keep(made.folder, made.clocks, { folder: undefined }) // it keeps no ledger here
      await other.repository('local/app').blobs.put(layerOf('b'))
    }
    made.clocks.pass(hour)
    await using again = await keep(made.folder, made.clocks, { maxSize: 1 })
    assert.deepEqual(await tagsOf(again), [])
    assert.equal((await again.repository('local/app').blobs.stat(digestOf(layerOf('b')))).size, 10_000)
    assert.equal(await blobBytes(made.folder), 10_000)
  })
})

async function storedDigest({ repository }: Kept): Promise<Awaited<ReturnType<typeof storeImage>>['digest']> {
  return (await repository('hub/app').tags.resolve(parseTag('a'))).digest
}

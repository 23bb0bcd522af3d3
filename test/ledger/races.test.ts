// Eviction beside pulls, pushes and mounts, interleaved call by call of the driver, each interleaving from its seed; and
// processes that die at any of these calls.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { Ledger, type LedgerOptions } from '../../src/ledger/ledger.ts'
import { Pins } from '../../src/ledger/pins.ts'
import { UsageRecorder } from '../../src/ledger/recorder.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { isAbsence, RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { blobsRoot } from '../../src/storage/layout.ts'
import { namesIn } from '../../src/storage/links.ts'
import { watchedDriver } from '../support/faulty-driver.ts'
import { seeded, type Random } from '../support/seeded.ts'
import { chunksOf, openStore } from '../storage/fixture.ts'
import { assertWhole } from '../storage/garbage-fixture.ts'
import { Clocks, keep, layerOf, start, storeImage, storeIndex, type Kept } from './fixture.ts'

const minute = 60_000
const rounds = 30
const maxSize = 4000
const texts = ['a', 'b', 'c', 'd', 'e']
const sizes = 500

function layer(text: string): Buffer {
  return layerOf(text, sizes)
}

/** Every call takes a random number of turns before it does its work. */
function slow(driver: StorageDriver, random: Random): StorageDriver {
  return new Proxy(driver, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]): Promise<unknown> => {
        for (let turns = random.int(5); turns > 0; turns--) await new Promise(setImmediate)
        return await (Reflect.apply(member, target, args) as Promise<unknown>)
      }
    },
  })
}

function some(random: Random): string[] {
  const chosen = texts.filter(() => random.oneIn(2))
  return chosen.length > 0 ? chosen : [random.pick(texts) ?? 'a']
}

async function orAbsent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/** As the proxy does it: the manifest, then each of its blobs, linked where it is stored. */
async function pull(kept: Kept, random: Random, clocks: Clocks): Promise<void> {
  for (let count = 0; count < 3; count++) {
    const name = random.pick(['hub/one', 'hub/two', 'hub/three'])
    const repository = kept.repository(name)
    const layers = some(random)
    clocks.pass(random.int(minute))
    const image = await storeImage(repository, `v${random.int(3)}`, layers.slice(0, 1).map(layer))
    for (const text of layers) {
      const digest = digestOf(layer(text))
      if ((await orAbsent(repository.blobs.link(digest))) === undefined) await upload(repository, layer(text))
      kept.recorder.used(parseRepositoryName(name), digest)
    }
    if (random.oneIn(3)) await storeIndex(repository, `i${random.int(3)}`, [image])
  }
}

/** As a client does it: what is here is not sent; what was mounted or said to be here, and is not, is sent. */
async function push(kept: Kept, random: Random, clocks: Clocks, pushed: Map<string, Digest>): Promise<void> {
  for (let count = 0; count < 2; count++) {
    const name = random.pick(['local/one', 'local/two'])
    const repository = kept.repository(name)
    const layers = some(random)
    clocks.pass(random.int(minute))
    for (const text of layers) {
      const digest = digestOf(layer(text))
      if (await orAbsent(repository.blobs.stat(digest, { renew: true }))) continue
      if (random.oneIn(2) && (await orAbsent(repository.blobs.link(digest)))) continue
      await upload(repository, layer(text))
    }
    const tag = `t${random.int(1000)}`
    const names = layers.map((text) => ({ mediaType: 'a/b', digest: digestOf(layer(text)), size: sizes }))
    const [config, ...rest] = names
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: rest }))
    const { descriptor } = await repository.manifests.put(bytes)
    await repository.tags.put(parseTag(tag), descriptor.digest)
    pushed.set(`${name}:${tag}`, descriptor.digest)
  }
}

async function upload(repository: WritableRepository, bytes: Buffer): Promise<void> {
  const session = await repository.uploads.create()
  await session.append(chunksOf(bytes, 200))
  await session.commit(digestOf(bytes))
}

async function bytesOn(driver: StorageDriver): Promise<number> {
  let sum = 0
  for (const shard of await namesIn(driver, `${blobsRoot}/sha256`)) {
    for (const hex of await namesIn(driver, `${blobsRoot}/sha256/${shard}`)) {
      sum += (await driver.stat(`${blobsRoot}/sha256/${shard}/${hex}/data`)).size
    }
  }
  return sum
}

async function assertPushed(driver: StorageDriver, pushed: ReadonlyMap<string, Digest>): Promise<void> {
  const fresh = openStore(driver)
  for (const [place, digest] of pushed) {
    const [name = '', tag = ''] = place.split(':')
    const repository = fresh.repository(parseRepositoryName(name))
    assert.equal((await repository.tags.resolve(parseTag(tag))).digest, digest)
    await assertWhole(repository, digest)
  }
}

suite('eviction while the store is used', () => {
  test(`P3: nothing that was pushed is lost, and all is accounted for (T-52, ${rounds} interleavings)`, async () => {
    let evicted = 0
    for (let seed = 1; seed <= rounds; seed++) {
      try {
        const random = seeded(seed)
        const clocks = new Clocks()
        const driver = inMemoryDriver()
        await using kept = await keep('/', clocks, { driver: slow(driver, random), folder: undefined, maxSize })
        const pushed = new Map<string, Digest>()
        const over = new AbortController()
        const rush = async (): Promise<void> => {
          while (!over.signal.aborted) {
            for (let turns = random.int(60); turns > 0; turns--) await new Promise(setImmediate)
            await kept.evictor.run()
          }
        }
        const rushing = rush()
        await Promise.all([
          pull(kept, random, clocks),
          pull(kept, random, clocks),
          push(kept, random, clocks, pushed),
          push(kept, random, clocks, pushed),
        ])
        over.abort()
        await rushing
        await assertPushed(driver, pushed)
        clocks.pass(120 * minute)
        await kept.evictor.run() // what was held when its last link went
        clocks.pass(minute)
        await kept.evictor.run()
        await assertPushed(driver, pushed)
        const hosted = await bytesOn(driver)
        assert.ok(hosted <= maxSize || kept.lines.some(({ msg }) => String(msg).startsWith('larger than')), `${hosted}`)
        evicted += kept.lines.filter(({ msg }) => msg === 'evicted').length
        const errors = kept.lines.filter(
          ({ level, msg }) => level === 'error' || msg === 'content could not be removed',
        )
        assert.deepEqual(errors, [])
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    assert.ok(evicted > rounds, `only ${evicted} rounds evicted anything`)
  })

  test('P9: a process that dies at any call of the driver leaves what is pushed whole, and nothing for ever', async () => {
    const prepare = async (): Promise<{ driver: StorageDriver; pushed: Map<string, Digest>; clocks: Clocks }> => {
      const driver = inMemoryDriver()
      const store = openStore(driver)
      const clocks = new Clocks()
      for (const [at, layers] of [['a', 'b'], ['b', 'c'], ['d']].entries()) {
        const repository = store.repository(parseRepositoryName(`hub/app-${at}`))
        await storeIndex(repository, 'v1', [await storeImage(repository, 'v1-amd64', layers.map(layer))])
      }
      const hosted = store.repository(parseRepositoryName('local/app'))
      const { digest } = await storeImage(hosted, 'v1', ['b', 'e'].map(layer))
      return { driver, pushed: new Map([['local/app:v1', digest]]), clocks }
    }
    for (let dies = 1; ; dies++) {
      const { driver, pushed, clocks } = await prepare()
      let calls = 0
      let isArmed = false
      const dying = watchedDriver(driver, () => {
        if (isArmed && ++calls >= dies) throw new RegistryError('UNKNOWN', 'the process is dead')
      })
      {
        await using kept = start('/', clocks, { driver: dying, folder: undefined, maxSize: 1 })
        await kept.evictor.run()
        clocks.pass(minute)
        isArmed = true
        await kept.evictor.run()
      }
      await assertPushed(driver, pushed)
      await using again = await keep('/', clocks, { driver, folder: undefined, maxSize: 1 })
      clocks.pass(120 * minute)
      await again.evictor.run()
      await assertPushed(driver, pushed)
      const hosted = openStore(driver).repository(parseRepositoryName('local/app'))
      const needed = (await hosted.manifests.stat(pushed.get('local/app:v1') ?? assert.fail())).size + 2 * sizes
      assert.equal(await bytesOn(driver), needed, `died at call ${dies}`)
      if (calls < dies) break
    }
  })

  test('what is told while it happens is what a survey finds afterwards', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed)
      const clocks = new Clocks()
      const driver = inMemoryDriver()
      const options: LedgerOptions = {
        folder: undefined,
        place: 'in memory',
        maxSize: Infinity,
        isCopy: (name) => name.startsWith('hub/'),
        pins: new Pins(['hub/two:v1']),
        clocks,
      }
      using told = Ledger.open(options)
      const recorder = new UsageRecorder()
      recorder.attach({ ledger: told, onGrowth: () => {}, onFailure: (error) => assert.fail(String(error)) })
      await using kept = start('/', clocks, { driver, folder: undefined })
      await kept.evictor[Symbol.asyncDispose]()
      const store = { ...kept, recorder, repository: kept.repository }
      Object.assign(kept.recorder, { note: recorder.note.bind(recorder) })
      const pushed = new Map<string, Digest>()
      await Promise.all([pull(store, random, clocks), push(store, random, clocks, pushed), pull(store, random, clocks)])
      for (const name of ['hub/one', 'hub/two', 'local/one']) {
        const discardable = kept.store.discardable(parseRepositoryName(name))
        for await (const digest of kept.repository(name).manifests.list()) {
          if (random.oneIn(3)) await discardable.manifests.delete(digest)
        }
        for (const text of texts) if (random.oneIn(3)) await orAbsent(discardable.blobs.delete(digestOf(layer(text))))
      }
      recorder.flush()
      using found = Ledger.open(options)
      for await (const fact of kept.store.survey({ signal: new AbortController().signal })) found.writeFound([fact])
      assert.deepEqual([told.size, told.blobs], [found.size, found.blobs], `seed ${seed}`)
      assert.deepEqual(unitsOf(told), unitsOf(found), `seed ${seed}`)
    }
  })
})

/** All units, in an order that does not depend on when they were used. */
function unitsOf(ledger: Ledger): string[] {
  const units: string[] = []
  const end = ledger.now()
  for (let unit = ledger.pick(end); unit !== undefined; unit = ledger.pick(end)) {
    if (unit === 'again') continue
    const { repository, root, targets, tags } = unit
    units.push([repository, root, ...targets.toSorted(), ...tags.map(({ tag }) => tag).toSorted()].join(' '))
    ledger.postpone(unit)
  }
  return units.toSorted()
}

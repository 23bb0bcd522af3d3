// Pushes and collections at once, interleaved call by call of the driver, each interleaving from its seed.
import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { isAbsence } from '../../src/oci/error.ts'
import { parseRepositoryName, parseTag, type Tag } from '../../src/oci/reference.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { GarbageError } from '../../src/storage/garbage/collect.ts'
import { blobPath, blobsRoot, linkPath, linksRoot, repositoriesRoot, sweptFolder } from '../../src/storage/layout.ts'
import type { LocalStore } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { pattern } from '../drivers/conformance.ts'
import { happening, watchedDriver, type DriverCall } from '../support/faulty-driver.ts'
import { hasError } from '../support/errors.ts'
import { chunksOf, latest, name, openStore, otherName, push } from './fixture.ts'
import { assertWhole, collectIn, image, index, layer, pushImage } from './garbage-fixture.ts'

const minute = 60_000
const hour = 60 * minute
const rounds = 250

type Random = (below: number) => number

/** mulberry32 */
function randomOf(seed: number): Random {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

interface Round {
  readonly driver: StorageDriver
  readonly random: Random
}

/** The storage of the round that is played; every call takes a random number of turns before it does its work. */
function slowDriver(round: () => Round): StorageDriver {
  return new Proxy(inMemoryDriver(), {
    get(_, key) {
      const { driver, random } = round()
      const member: unknown = Reflect.get(driver, key)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]): Promise<unknown> => {
        for (let turns = random(5); turns > 0; turns--) await new Promise(setImmediate)
        return await (Reflect.apply(member, driver, args) as Promise<unknown>)
      }
    },
  })
}

const texts = ['a', 'b', 'c', 'd', 'e']

/** A client that pushes as clients do: it asks what is there, sends what is not, and begins anew where it is refused. */
class Pusher {
  readonly pushed = new Map<string, Digest>()
  refusals = 0
  readonly #stores: readonly LocalStore[]
  readonly #random: Random
  readonly #label: string

  constructor(stores: readonly LocalStore[], random: Random, label: string) {
    this.#stores = stores
    this.#random = random
    this.#label = label
  }

  async run(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      const repositoryName = this.#random(2) === 0 ? name : otherName
      const images = Array.from({ length: 1 + this.#random(2) }, () => this.#choose())
      const manifests = images.map((layers) => image(layers))
      const top = manifests.length > 1 ? index(manifests) : manifests[0]
      assert.ok(top !== undefined)
      const tag = parseTag(`${this.#label}-${round}`)
      for (let attempt = 0; !(await this.#attempt(repositoryName, images, manifests, top, tag)); attempt++) {
        assert.ok(attempt < 5, 'it is refused again and again')
        this.refusals++
      }
      this.pushed.set(`${repositoryName}:${tag}`, digestOf(top))
    }
  }

  async #attempt(
    repositoryName: typeof name,
    images: readonly (readonly string[])[],
    manifests: readonly Buffer[],
    top: Buffer,
    tag: Tag,
  ): Promise<boolean> {
    for (const [at, layers] of images.entries()) {
      const manifest = manifests[at]
      assert.ok(manifest !== undefined)
      for (const text of layers) await this.#pushBlob(repositoryName, layer(text))
      const isThere =
        this.#random(2) === 0 &&
        (await orAbsent(this.#at(repositoryName).manifests.stat(digestOf(manifest), { renew: true })))
      if (!isThere && !(await this.#putManifest(repositoryName, manifest, layers, []))) return false
    }
    if (manifests.length > 1 && !(await this.#putManifest(repositoryName, top, [], manifests))) return false
    if (manifests.length === 1 && !(await this.#putManifest(repositoryName, top, images[0] ?? [], []))) return false
    this.#pass()
    await this.#at(repositoryName).tags.put(tag, digestOf(top))
    return true
  }

  async #pushBlob(repositoryName: typeof name, bytes: Buffer): Promise<void> {
    const { blobs, uploads } = this.#at(repositoryName)
    const digest = digestOf(bytes)
    this.#pass()
    if (await orAbsent(blobs.stat(digest, { renew: true }))) return
    this.#pass()
    const other = this.#at(repositoryName === name ? otherName : name)
    if (this.#random(2) === 0 && (await orAbsent(other.blobs.stat(digest))) && (await orAbsent(blobs.link(digest))))
      return
    const upload = await uploads.create()
    await upload.append(chunksOf(bytes, 4))
    this.#pass()
    await upload.commit(digest)
  }

  /** As the API does: everything named is looked for in storage, and made young, before the manifest is stored. */
  async #putManifest(
    repositoryName: typeof name,
    manifest: Buffer,
    layers: readonly string[],
    children: readonly Buffer[],
  ): Promise<boolean> {
    this.#pass()
    const { blobs, manifests } = this.#at(repositoryName)
    for (const text of layers) if (!(await orAbsent(blobs.stat(digestOf(layer(text)), { renew: true })))) return false
    for (const child of children) if (!(await orAbsent(manifests.stat(digestOf(child), { renew: true })))) return false
    await manifests.put(manifest)
    return true
  }

  #choose(): string[] {
    const chosen = texts.filter(() => this.#random(2) === 0)
    return chosen.length > 0 ? chosen : ['a']
  }

  /** Any request may reach any replica. */
  #at(repositoryName: typeof name): WritableRepository {
    const store = this.#stores[this.#random(this.#stores.length)]
    assert.ok(store !== undefined)
    return store.repository(repositoryName)
  }

  #pass(): void {
    mock.timers.tick(this.#random(minute))
  }
}

async function orAbsent(found: Promise<unknown>): Promise<boolean> {
  try {
    await found
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

async function orRefused(collected: Promise<unknown>): Promise<void> {
  try {
    await collected
  } catch (error) {
    if (!(error instanceof GarbageError)) throw error // another one is running
  }
}

interface Servers {
  readonly driver: StorageDriver
  /** They remember what they learnt in other rounds, which is wrong in this one as often as not. */
  readonly stores: readonly [LocalStore, LocalStore]
  readonly fresh: LocalStore
}

async function playRound({ driver, stores, fresh }: Servers, random: Random): Promise<number> {
  const before = new Map<string, Digest>()
  for (const repositoryName of [name, otherName]) {
    for (const [at, layers] of [
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'd', 'e'],
    ].entries()) {
      const repository = stores[0].repository(repositoryName)
      const digest = digestOf(await pushImage(repository, layers))
      if (random(3) === 0) {
        await repository.tags.put(parseTag(`before-${at}`), digest)
        before.set(`${repositoryName}:before-${at}`, digest)
      } else if (random(2) === 0) await repository.manifests.delete(digest)
    }
  }
  mock.timers.tick(2 * hour)
  const pushers = ['x', 'y', 'z'].map((label) => new Pusher(stores, random, label))
  const deleteUntagged = random(2) === 0
  const collection = async (): Promise<void> => {
    for (let turns = random(40); turns > 0; turns--) await new Promise(setImmediate)
    await orRefused(collectIn(driver, { grace: hour, deleteUntagged }))
  }
  await Promise.all([
    collection(),
    ...(random(4) === 0 ? [collection()] : []),
    ...pushers.map(async (one) => await one.run()),
  ])
  for (const [place, digest] of [before, ...pushers.map(({ pushed }) => pushed)].flatMap((all) => [...all])) {
    const [repositoryName, tag = ''] = place.split(':')
    const repository = fresh.repository(repositoryName === name ? name : otherName)
    assert.equal((await repository.tags.resolve(parseTag(tag))).digest, digest)
    await repository.manifests.stat(digest, { renew: true })
    await assertWhole(repository, digest)
  }
  return pushers.reduce((sum, { refusals }) => sum + refusals, 0)
}

suite('garbage and pushes at once', () => {
  test(`P3: nothing that was pushed is lost (T-52, ${rounds} interleavings)`, async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    let round: Round = { driver: inMemoryDriver(), random: randomOf(0) }
    const driver = slowDriver(() => round)
    const unknowing = descriptorCache(openFactStore({ kind: 'none' }, silentLogger))
    const servers: Servers = {
      driver,
      stores: [openStore(driver), openStore(driver)],
      fresh: openStore(driver, unknowing),
    }
    let refusals = 0
    for (let seed = 1; seed <= rounds; seed++) {
      try {
        round = { driver: inMemoryDriver(), random: randomOf(seed) }
        refusals += await playRound(servers, round.random)
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    assert.ok(refusals < rounds / 10, `${refusals} pushes had to begin anew`)
  })

  async function collectWith(
    driver: StorageDriver,
    fits: (call: DriverCall) => boolean,
    happens: () => Promise<void>,
    deleteUntagged: boolean,
  ): Promise<void> {
    const busy = happening(driver, fits, happens)
    await collectIn(busy.driver, { grace: hour, deleteUntagged })
    assert.ok(busy.hasHappened(), 'it never happened')
  }

  test('a second collection is refused from the first moment of one to its last', async () => {
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    await pushImage(repository, ['a'])
    await repository.blobs.put(layer('b'))
    let calls = 0
    let refused = 0
    let isAsking = false
    const asked = watchedDriver(driver, async ({ method, path }) => {
      if (isAsking || (method === 'list' && path === repositoriesRoot && calls === 0)) return
      calls++
      if (calls === 1) return // the first is only just saying that it lives
      isAsking = true
      const { removed } = await collectIn(driver).catch((error: unknown) => {
        if (!(error instanceof GarbageError)) throw error
        refused++
        return { removed: undefined }
      })
      // It may begin when the sign of the first is gone.
      assert.ok(removed === undefined || path.startsWith(sweptFolder), `${method} of ${path}`)
      isAsking = false
    })
    await collectIn(asked)
    assert.ok(refused > 20, `${refused} of ${calls}`)
  })

  test('a blob that is mounted after its repository was looked at never leaves its place', async () => {
    const driver = inMemoryDriver()
    const store = openStore(driver)
    await store.repository(name).blobs.put(layer('b'))
    const { digest } = await store.repository(otherName).blobs.put(layer('a'))
    await store.repository(otherName).blobs.delete(digest)
    const moved: string[] = []
    const watched = watchedDriver(driver, ({ method, path }) => {
      if (method === 'move') moved.push(path)
    })
    const mount = async (): Promise<void> => void (await store.repository(otherName).blobs.link(digest))
    const isSweep = ({ method, path }: DriverCall): boolean => method === 'list' && path === `${blobsRoot}/sha256`
    const busy = happening(watched, isSweep, mount)
    await collectIn(busy.driver)
    assert.ok(busy.hasHappened())
    assert.ok(moved.includes(blobPath(digestOf(layer('b')))))
    assert.ok(!moved.includes(blobPath(digest)))
    assert.equal((await store.repository(otherName).blobs.stat(digest, { renew: true })).digest, digest)
  })

  test('a blob that is linked while it is out of its place comes back before other repositories are read', async () => {
    const driver = inMemoryDriver()
    const store = openStore(driver)
    const first = parseRepositoryName('a')
    const last = parseRepositoryName('z')
    for (const one of [first, last]) await store.repository(one).blobs.put(layer('kept'))
    const { digest } = await store.repository(first).blobs.put(layer('a'))
    await store.repository(first).blobs.delete(digest)
    const calls: string[] = []
    const busy = happening(
      watchedDriver(driver, ({ method, path, to }) => void calls.push(`${method} ${to ?? path}`)),
      ({ method, path }) => method === 'move' && path === blobPath(digest),
      async () => await driver.write(linkPath(first, 'blobs', digest), Buffer.from(digest)),
    )
    await collectIn(busy.driver)
    const back = calls.indexOf(`move ${blobPath(digest)}`)
    assert.ok(back > 0)
    assert.ok(calls.lastIndexOf(`list ${linksRoot(last, 'blobs')}`) > back)
  })

  test('a manifest that is tagged while it is out of its place comes back', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    const manifest = await pushImage(repository, ['a'])
    mock.timers.tick(2 * hour)
    const link = linkPath(name, 'manifests', digestOf(manifest))
    const tag = async (): Promise<void> => await repository.tags.put(latest, digestOf(manifest))
    await collectWith(driver, ({ method, path }) => method === 'move' && path === link, tag, true)
    const fresh = openStore(driver).repository(name)
    assert.equal((await fresh.tags.resolve(latest)).digest, digestOf(manifest))
    await assertWhole(fresh, digestOf(manifest))
  })

  for (const [what, renew] of [
    [
      'asked for',
      async (repository: WritableRepository, digest: Digest) => await repository.blobs.stat(digest, { renew: true }),
    ],
    ['pushed again', async (repository: WritableRepository) => await repository.blobs.put(layer('a'))],
    ['mounted again', async (repository: WritableRepository, digest: Digest) => await repository.blobs.link(digest)],
  ] as const) {
    test(`a blob that is ${what} just before its link is taken keeps its link`, async (t) => {
      mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
      t.after(() => mock.timers.reset())
      const driver = inMemoryDriver()
      const repository = openStore(driver).repository(name)
      const { digest } = await repository.blobs.put(layer('a'))
      mock.timers.tick(2 * hour)
      const link = linkPath(name, 'blobs', digest)
      let links = 0
      const again = async (): Promise<void> => void (await renew(repository, digest))
      // The last look before it is moved is at the repository's list of batches.
      const isLast = ({ method, path }: DriverCall): boolean => {
        if (method === 'stat' && path === link) links++
        return method === 'write' && links > 0 && path.startsWith('/entrepot/swept/')
      }
      await collectWith(driver, isLast, again, false)
      assert.equal((await openStore(driver).repository(name).blobs.stat(digest)).digest, digest)
    })
  }

  test('a blob that is taken while it is linked is unknown to whoever links it', async () => {
    const driver = inMemoryDriver()
    const { digest } = await openStore(driver).repository(name).blobs.put(layer('a'))
    const link = linkPath(otherName, 'blobs', digest)
    const taken = watchedDriver(driver, ({ method, path }) => {
      if (method === 'write' && path === link) void driver.remove(blobPath(digest))
    })
    const other = openStore(taken).repository(otherName)
    await assert.rejects(other.blobs.link(digest), hasError('BLOB_UNKNOWN'))
  })

  for (const [how, isKnown] of [
    ['by an upload', true],
    ['by an upload, to a process that does not know it', false],
    ['whole', false],
  ] as const) {
    test(`P2: a blob that is taken while it is pushed once more, ${how}, is stored or refused`, async () => {
      const driver = inMemoryDriver()
      const bytes = pattern(100_000)
      const digest = digestOf(bytes)
      await openStore(driver).repository(name).blobs.put(bytes)
      const link = linkPath(otherName, 'blobs', digest)
      const taken = watchedDriver(driver, ({ method, path }) => {
        if (method === 'write' && path === link) void driver.remove(blobPath(digest))
      })
      const store = openStore(taken)
      if (isKnown) await collect((await store.repository(name).blobs.open(digest)).body, bytes.byteLength)
      const other = store.repository(otherName)
      const pushed = how === 'whole' ? other.blobs.put(bytes) : push(other, bytes)
      const isRefused = how !== 'whole' && !isKnown // its bytes had come to the blob's place, and went with it
      if (isRefused) await assert.rejects(pushed, hasError('BLOB_UPLOAD_UNKNOWN'))
      else await pushed
      assert.equal((await store.content.find(digest)) === undefined, isRefused)
      if (!isRefused) assert.equal((await driver.stat(blobPath(digest))).size, bytes.byteLength)
    })
  }

  test('P2: a manifest that is taken while it is pushed once more is stored', async () => {
    const driver = inMemoryDriver()
    const manifest = await pushImage(openStore(driver).repository(name), ['a'])
    const digest = digestOf(manifest)
    const link = linkPath(otherName, 'manifests', digest)
    const busy = happening(
      driver,
      ({ method, path }) => method === 'write' && path === link,
      async () => await driver.remove(blobPath(digest)),
    )
    await openStore(busy.driver).repository(otherName).manifests.put(manifest)
    assert.ok(busy.hasHappened())
    assert.deepEqual(await driver.read(blobPath(digest), 10_000), manifest)
  })

  test('a blob that nothing links and that is stored anew just before it is taken comes back: it is young', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    const { digest } = await repository.blobs.put(layer('a'))
    await repository.blobs.delete(digest)
    mock.timers.tick(2 * hour)
    const busy = happening(
      driver,
      ({ method, path }) => method === 'move' && path === blobPath(digest),
      async () => await driver.write(blobPath(digest), layer('a')), // as another server does, which will link it
    )
    await collectIn(busy.driver, { grace: hour })
    assert.ok(busy.hasHappened())
    assert.deepEqual(await driver.read(blobPath(digest), 100), layer('a'))
  })

  test('a blob that is linked while it is out of its place comes back', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    const store = openStore(driver)
    const { digest } = await store.repository(name).blobs.put(layer('a'))
    await store.repository(name).tags.put(latest, digest)
    mock.timers.tick(2 * hour)
    const mount = async (): Promise<void> => {
      await driver.write(linkPath(otherName, 'blobs', digest), Buffer.from(digest))
    }
    const isScan = ({ method, path }: DriverCall): boolean => method === 'move' && path.includes('/blobs/sha256/')
    await collectWith(driver, isScan, mount, false)
    assert.equal((await openStore(driver).repository(otherName).blobs.stat(digest)).digest, digest)
  })

  test('what a client is told is here stays long enough to be named', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    const { digest } = await repository.blobs.put(layer('a'))
    const manifest = await pushImage(repository, ['b'])
    mock.timers.tick(2 * hour)
    await repository.blobs.stat(digest, { renew: true })
    await repository.manifests.stat(digestOf(manifest), { renew: true })
    mock.timers.tick(hour / 2)
    await collectIn(driver, { grace: hour, deleteUntagged: true })
    const fresh = openStore(driver).repository(name)
    assert.equal((await fresh.blobs.stat(digest, { renew: true })).size, layer('a').byteLength)
    await assertWhole(fresh, digestOf(manifest))
    mock.timers.tick(2 * hour)
    await collectIn(driver, { grace: hour, deleteUntagged: true })
    // The same process still remembers; storage tells.
    await assert.rejects(repository.blobs.stat(digest, { renew: true }), hasError('BLOB_UNKNOWN'))
    await assert.rejects(repository.manifests.stat(digestOf(manifest), { renew: true }), hasError('MANIFEST_UNKNOWN'))
    await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
  })

  test('a link that is young is not written again', async (t) => {
    mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
    t.after(() => mock.timers.reset())
    const driver = inMemoryDriver()
    const repository = openStore(driver).repository(name)
    const { digest } = await repository.blobs.put(layer('a'))
    const versions: string[] = []
    for (const passed of [0, 14 * minute, 2 * minute, minute]) {
      mock.timers.tick(passed)
      await repository.blobs.stat(digest, { renew: true })
      versions.push((await driver.stat(linkPath(name, 'blobs', digest))).version)
    }
    assert.equal(versions[0], versions[1])
    assert.notEqual(versions[1], versions[2])
    assert.equal(versions[2], versions[3])
  })
})

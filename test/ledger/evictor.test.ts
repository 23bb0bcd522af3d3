// What goes when the disk is full or time has passed, and what never does.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { DriverError } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { blobPath, tagCurrentPath } from '../../src/storage/layout.ts'
import { faultyDriver, watchedDriver } from '../support/faulty-driver.ts'
import { seeded } from '../support/seeded.ts'
import {
  blobBytes,
  diskUsage,
  isHere,
  keep,
  layerOf,
  makeKept,
  start,
  storeImage,
  storeIndex,
  type Kept,
} from './fixture.ts'

const hour = 60 * 60_000
const day = 24 * hour

/** Asks for it as the proxy does for a client. */
async function use({ recorder, repository }: Kept, name: string, digest: ReturnType<typeof digestOf>): Promise<void> {
  await repository(name)
    .manifests.get(digest)
    .catch(async () => await repository(name).blobs.stat(digest))
  recorder.used(parseRepositoryName(name), digest)
}

suite('a store that has grown beyond its bound', () => {
  test('P7: a working set of three times the bound stays within it, also after a restart (T-51)', async () => {
    const maxSize = 300_000
    await using made = await makeKept({ maxSize })
    const { folder, clocks, kept } = made
    for (let number = 0; number < 90; number++) {
      clocks.pass(3000)
      await storeImage(kept.repository(`hub/app-${number % 7}`), `v${number}`, [layerOf(`${number}`)])
      if (number % 10 === 9) {
        await kept.evictor.run()
        assert.ok((await blobBytes(folder)) <= maxSize + 11_000, 'more than what is in flight')
      }
    }
    assert.ok((await blobBytes(folder)) > maxSize * 0.8, 'more went than had to')
    assert.ok(await isHere(kept.repository('hub/app-5').tags.resolve(parseTag('v89'))))
    assert.ok(!(await isHere(kept.repository('hub/app-0').tags.resolve(parseTag('v0')))))
    await kept[Symbol.asyncDispose]()
    clocks.pass(3000)
    await using again = await keep(folder, clocks, { maxSize: 100_000 })
    assert.ok((await blobBytes(folder)) <= 100_000)
    assert.ok(await isHere(again.repository('hub/app-5').tags.resolve(parseTag('v89'))))
  })

  test('what makes it too large begins a round; what is in flight goes a moment later', async () => {
    await using made = await makeKept({ maxSize: 50_000 })
    const { folder, clocks, kept } = made
    const app = kept.repository('hub/app')
    const evictions = (): number => kept.lines.filter(({ msg }) => msg === 'evicted').length
    for (let number = 0; number < 9; number++) await storeImage(app, `v${number}`, [layerOf(`${number}`)])
    await kept.evictor.run()
    assert.equal(evictions(), 0)
    clocks.pass(3000)
    await storeImage(app, 'last', [layerOf('last')])
    while (evictions() === 0) await new Promise(setImmediate)
    await kept.evictor.run()
    assert.ok((await blobBytes(folder)) <= 50_000)
    assert.ok(await isHere(app.tags.resolve(parseTag('last'))))
  })

  test('what was used last goes last, and using it again counts (T-55)', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    const images = []
    for (const tag of ['a', 'b', 'c', 'd']) {
      clocks.pass(hour)
      images.push(await storeImage(kept.repository('hub/app'), tag, [layerOf(`${tag} config`), layerOf(tag)]))
    }
    clocks.pass(hour)
    await use(kept, 'hub/app', images[0]?.digest ?? assert.fail()) // its manifest
    clocks.pass(hour)
    await use(kept, 'hub/app', digestOf(layerOf('b'))) // a layer of its own
    await kept[Symbol.asyncDispose]()
    await using again = await keep(folder, clocks, { maxSize: 45_000 })
    const left = []
    for (const tag of ['a', 'b', 'c', 'd']) {
      if (await isHere(again.repository('hub/app').tags.resolve(parseTag(tag)))) left.push(tag)
    }
    assert.deepEqual(left, ['a', 'b'])
  })

  test('using a layer that images share keeps none of them', async () => {
    await using made = await makeKept({ maxSize: 45_000 })
    const { clocks, kept } = made
    const base = layerOf('base')
    const app = kept.repository('hub/app')
    for (const tag of ['a', 'b']) {
      clocks.pass(hour)
      await storeImage(app, tag, [layerOf(`${tag} config`), base])
    }
    clocks.pass(hour)
    await use(kept, 'hub/app', digestOf(base))
    await storeImage(app, 'c', [layerOf('c config'), layerOf('c')])
    await kept.evictor.run()
    assert.ok(!(await isHere(app.tags.resolve(parseTag('a')))))
    assert.ok(await isHere(app.tags.resolve(parseTag('b'))))
    assert.ok(await isHere(app.blobs.stat(digestOf(base))), 'the other image still has it')
  })

  test('T-53: a blob that another repository links stays, and the other images with it', async () => {
    await using made = await makeKept({ maxSize: 100_000 })
    const { clocks, kept } = made
    const base = layerOf('base', 20_000)
    const names = ['hub/a', 'hub/b', 'hub/c', 'local/d']
    for (const name of names) {
      clocks.pass(hour)
      await storeImage(kept.repository(name), 'v1', [layerOf(`${name} config`, 2000), base])
    }
    for (const at of names.keys()) {
      await storeImage(kept.repository('hub/new'), `v${at}`, [layerOf(`new ${at}`, 85_000 - at)])
      await kept.evictor.run()
      clocks.pass(hour)
      for (const other of names) {
        if (!(await isHere(kept.repository(other).tags.resolve(parseTag('v1'))))) continue
        assert.ok(await isHere(kept.repository(other).blobs.stat(digestOf(base))), `${other} lost its layer`)
      }
    }
    const { body, descriptor } = await kept.repository('local/d').blobs.open(digestOf(base))
    assert.equal(digestOf(await collect(body, descriptor.size)), digestOf(base))
    for (const name of names.slice(0, 3)) assert.ok(!(await isHere(kept.repository(name).tags.resolve(parseTag('v1')))))
  })

  test('an index goes with its children, and a child that another index has stays', async () => {
    await using made = await makeKept({ maxSize: 60_000 })
    const { clocks, kept } = made
    const app = kept.repository('hub/app')
    const both = await storeImage(app, undefined, [layerOf('both')])
    const one = await storeImage(app, undefined, [layerOf('one')])
    const first = await storeIndex(app, 'first', [both, one])
    clocks.pass(hour)
    const second = await storeIndex(app, 'second', [both])
    clocks.pass(hour)
    await storeImage(app, 'new', [layerOf('new', 45_000)])
    await kept.evictor.run()
    const left = []
    for (const image of [first, one, second, both]) left.push(await isHere(app.manifests.get(image.digest)))
    assert.deepEqual(left, [false, false, true, true])
    assert.ok(await isHere(app.blobs.stat(digestOf(layerOf('both')))))
    assert.ok(!(await isHere(app.blobs.stat(digestOf(layerOf('one'))))))
  })

  test('a child that is used keeps its index', async () => {
    await using made = await makeKept({ maxSize: 60_000 })
    const { clocks, kept } = made
    const app = kept.repository('hub/app')
    const child = await storeImage(app, undefined, [layerOf('child')])
    const index = await storeIndex(app, 'index', [child])
    clocks.pass(hour)
    const other = await storeImage(app, 'other', [layerOf('other')])
    clocks.pass(hour)
    await use(kept, 'hub/app', child.digest)
    await storeImage(app, 'new', [layerOf('new', 40_000)])
    await kept.evictor.run()
    assert.ok(await isHere(app.manifests.get(index.digest)))
    assert.ok(!(await isHere(app.manifests.get(other.digest))))
  })

  test('a signature goes with what it signs', async () => {
    await using made = await makeKept({ maxSize: 60_000 })
    const { clocks, kept } = made
    const app = kept.repository('hub/app')
    const image = await storeImage(app, 'v1', [layerOf('image')])
    clocks.pass(hour)
    const other = await storeImage(app, 'v2', [layerOf('other')])
    clocks.pass(hour)
    const signature = await storeImage(app, undefined, [layerOf('signature', 100)], image.bytes)
    await storeImage(app, 'v3', [layerOf('new', 40_000)])
    await kept.evictor.run()
    assert.ok(await isHere(app.manifests.get(image.digest)), 'its signature is used')
    assert.ok(!(await isHere(app.manifests.get(other.digest))))
    await storeImage(app, 'v4', [layerOf('newer', 50_000)])
    clocks.pass(hour)
    await kept.evictor.run()
    for (const { digest } of [image, signature]) assert.ok(!(await isHere(app.manifests.get(digest))))
  })

  test('hosted content never goes, nor does what is pinned; the log says once that all is taken', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    const places = [
      ['local/app', 'v1'],
      ['hub/keep/this', 'v1'],
      ['hub/app', 'v1'],
      ['hub/app', 'v2'],
    ] as const
    for (const [name, tag] of places) {
      if (tag === 'v2') continue
      const child = await storeImage(kept.repository(name), undefined, [layerOf(`${name} child`)])
      await storeIndex(kept.repository(name), tag, [child])
    }
    const moved = await storeImage(kept.repository('hub/app'), 'v2', [layerOf('moved')])
    await storeImage(kept.repository('hub/app'), 'latest', [layerOf('latest')])
    await kept[Symbol.asyncDispose]()
    clocks.pass(hour)
    await using again = await keep(folder, clocks, { maxSize: 20_000, pins: ['hub/keep/**', 'hub/app:v*'] })
    const app = again.repository('hub/app')
    assert.ok(!(await isHere(app.tags.resolve(parseTag('latest')))))
    assert.equal(await again.store.content.find(digestOf(layerOf('latest'))), undefined)
    for (const [name, tag] of places) {
      assert.ok(await isHere(again.repository(name).tags.resolve(parseTag(tag))), `${name}:${tag}`)
      if (tag === 'v1') assert.ok(await again.store.content.find(digestOf(layerOf(`${name} child`))))
    }
    for (let round = 0; round < 3; round++) await again.evictor.run()
    const warnings = again.lines.filter(({ level }) => level === 'warn')
    assert.equal(warnings.length, 1, JSON.stringify(warnings))
    assert.ok(Number(warnings[0]?.['size']) > 20_000)
    // The tag moves on, and what it pointed at is pinned no longer.
    await storeImage(app, 'v2', [layerOf('its successor', 100)])
    await again.evictor.run()
    assert.ok(!(await isHere(app.manifests.get(moved.digest))))
    assert.ok(await isHere(app.tags.resolve(parseTag('v2'))))
  })

  test('what is being read stays, and every reader gets it whole (T-53)', async () => {
    await using made = await makeKept({ maxSize: 600_000 })
    const { clocks, kept } = made
    const app = kept.repository('hub/app')
    const large = layerOf('large', 500_000)
    const digest = digestOf(large)
    await storeImage(app, 'large', [layerOf('config'), large])
    const readers = await Promise.all(Array.from({ length: 50 }, async () => await app.blobs.open(digest)))
    const started = readers.map(({ body }) => body[Symbol.asyncIterator]())
    const heads = await Promise.all(started.map(async (chunks) => Buffer.from((await chunks.next()).value ?? [])))
    clocks.pass(hour)
    await storeImage(app, 'new', [layerOf('new', 550_000)])
    await kept.evictor.run()
    assert.ok(await isHere(app.blobs.stat(digest)), 'it was taken away while it was read')
    const read = await Promise.all(
      started.map(async (chunks, at) => {
        const parts = [heads[at] ?? assert.fail()]
        for (let next = await chunks.next(); next.done !== true; next = await chunks.next())
          parts.push(Buffer.from(next.value))
        return digestOf(Buffer.concat(parts))
      }),
    )
    assert.deepEqual(new Set(read), new Set([digest]))
    clocks.pass(hour)
    await storeImage(app, 'newer', [layerOf('newer', 550_000)])
    clocks.pass(hour)
    await kept.evictor.run()
    assert.ok(!(await isHere(app.blobs.stat(digest))))
  })

  test('what goes leaves nothing on disk, not even folders (T-54)', async () => {
    await using made = await makeKept({ maxSize: 1_000_000 })
    const { folder, clocks, kept } = made
    const before = await diskUsage(folder)
    for (let number = 0; number < 20; number++) {
      const child = await storeImage(kept.repository('hub/app'), undefined, [
        layerOf(`${number}`),
        layerOf(`${number} b`),
      ])
      await storeIndex(kept.repository('hub/app'), `v${number}`, [child])
    }
    const full = await diskUsage(folder)
    await kept[Symbol.asyncDispose]()
    clocks.pass(hour)
    await using again = await keep(folder, clocks, { maxSize: 1000 })
    assert.equal(await blobBytes(folder), 0)
    const names = await readdir(folder, { recursive: true })
    assert.deepEqual(
      names.filter((name) => /[0-9a-f]{64}|tags.v/.test(name)),
      [],
    )
    const shards = names.filter((name) => /blobs.sha256.[0-9a-f]{2}$/.test(name)).length // of which there are 256
    const left = (await diskUsage(folder)) - before - shards * 4096
    assert.ok(left < (full - before) / 20, `${left} of ${full - before} bytes are still taken`)
    assert.ok(again.lines.some(({ msg, images, blobs }) => msg === 'evicted' && images === 40 && blobs === 80))
  })

  test('what cannot be removed keeps nothing else', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    const images = []
    for (let number = 0; number < 5; number++) {
      images.push(await storeImage(kept.repository('hub/app'), `v${number}`, [layerOf(`${number}`)]))
      clocks.pass(hour)
    }
    await kept[Symbol.asyncDispose]()
    const stuck = images[0]?.digest.slice('sha256:'.length) ?? assert.fail()
    const driver = watchedDriver(filesystemDriver({ rootDirectory: folder }), ({ method, path }) => {
      if (method === 'remove' && path.includes(stuck)) throw new DriverError('EACCES', path)
    })
    await using again = await keep(folder, clocks, { maxSize: 25_000, driver })
    assert.ok(again.lines.some(({ msg }) => msg === 'content could not be removed'))
    assert.ok((await blobBytes(folder)) <= 25_000 + 10_000, 'the others stayed')
  })

  test('one manifest that cannot be read does not end all eviction', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    const { digest } = await storeImage(kept.repository('local/app'), 'v1', [layerOf('hosted')])
    await storeImage(kept.repository('hub/app'), 'v1', [layerOf('copy')])
    await kept[Symbol.asyncDispose]()
    clocks.pass(hour)
    const driver = watchedDriver(filesystemDriver({ rootDirectory: folder }), ({ method, path }) => {
      if (method === 'read' && path === blobPath(digest)) throw new DriverError('EIO', path)
    })
    await using again = await keep(folder, clocks, { maxSize: 1000, driver })
    assert.ok(!(await isHere(again.repository('hub/app').tags.resolve(parseTag('v1')))))
    clocks.pass(2 * hour)
    await again.evictor.run()
    assert.ok((await again.repository('local/app').blobs.stat(digestOf(layerOf('hosted')))).size > 0)
  })

  test('P3: where a folder may not be read nothing is evicted, and the log says which and what to do', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    const { digest } = await storeImage(kept.repository('hub/app'), 'v1', [layerOf('shared')])
    await kept.repository('local/app').blobs.put(layerOf('shared'))
    await kept[Symbol.asyncDispose]()
    clocks.pass(hour)
    const denied = '/docker/registry/v2/repositories/local'
    const driver = watchedDriver(filesystemDriver({ rootDirectory: folder }), ({ method, path }) => {
      if (method === 'list' && path === denied) throw new DriverError('EACCES', `EACCES at ${path}`)
    })
    await using again = start(folder, clocks, { maxSize: 1000, driver })
    await again.until(({ level }) => level === 'warn')
    const { msg, error } = again.lines.find(({ level }) => level === 'warn') ?? assert.fail()
    assert.match(String(msg), /^nothing is evicted: .* let this user read it, or mount it$/)
    const { message } = error as { readonly message: string }
    assert.ok(message.endsWith(`EACCES at ${denied}`), message)
    assert.ok(await isHere(again.repository('hub/app').manifests.get(digest)))
    assert.ok(!again.lines.some((line) => line['msg'] === 'evicted'))
  })

  test('a disk that fails is told once, and nothing is lost by it', async () => {
    await using made = await makeKept()
    const { folder, clocks, kept } = made
    for (let number = 0; number < 5; number++)
      await storeImage(kept.repository('hub/app'), `v${number}`, [layerOf(`${number}`)])
    await storeImage(kept.repository('local/app'), 'v1', [layerOf('hosted'), layerOf('0')])
    await kept[Symbol.asyncDispose]()
    clocks.pass(hour)
    const driver = faultyDriver(filesystemDriver({ rootDirectory: folder }))
    await using again = await keep(folder, clocks, { maxSize: 60_000, driver })
    await storeImage(again.repository('hub/app'), 'new', [layerOf('new')])
    driver.arm(1)
    await again.evictor.run()
    driver.arm(0)
    const random = seeded(1)
    for (let round = 0; round < 60; round++) {
      clocks.pass(3000)
      await storeImage(again.repository('hub/app'), `w${round}`, [layerOf(`w${round}`)])
      driver.arm(1 + random.int(20))
      await again.evictor.run()
      driver.arm(0)
      assert.ok(await isHere(again.repository('local/app').blobs.stat(digestOf(layerOf('0')))))
    }
    clocks.pass(2 * hour) // what was unlinked and could not be removed is nobody's
    await again.evictor.run()
    assert.ok((await blobBytes(folder)) <= 60_000)
    assert.ok(again.lines.filter(({ level }) => level === 'warn').length < 60)
    const { body, descriptor } = await again.repository('local/app').blobs.open(digestOf(layerOf('0')))
    assert.equal(digestOf(await collect(body, descriptor.size)), descriptor.digest)
  })
})

suite('content that is not used any more', () => {
  test('it goes when it was not used for the time to live; using it counts (T-55)', async () => {
    await using made = await makeKept({ ttl: 7 * day })
    const { folder, clocks, kept } = made
    const app = kept.repository('hub/app')
    const old = await storeImage(app, 'old', [layerOf('old')])
    const used = await storeImage(app, 'used', [layerOf('used')])
    await storeImage(kept.repository('local/app'), 'old', [layerOf('hosted')])
    clocks.pass(6 * day)
    await use(kept, 'hub/app', used.digest)
    await kept.evictor.run()
    assert.ok(await isHere(app.manifests.get(old.digest)))
    clocks.pass(2 * day)
    await kept.evictor.run()
    assert.ok(!(await isHere(app.manifests.get(old.digest))))
    assert.ok(await isHere(app.manifests.get(used.digest)))
    assert.ok(await isHere(kept.repository('local/app').tags.resolve(parseTag('old'))))
    clocks.pass(8 * day)
    await kept.evictor.run()
    assert.ok(!(await isHere(app.manifests.get(used.digest))))
    assert.ok((await blobBytes(folder)) < 15_000)
  })

  test('a shared blob goes with the last repository that links it (T-53)', async () => {
    await using made = await makeKept({ ttl: 7 * day })
    const { clocks, kept } = made
    for (const name of ['hub/a', 'hub/b']) {
      await storeImage(kept.repository(name), 'v1', [layerOf('shared')])
      clocks.pass(5 * day)
    }
    await kept.evictor.run()
    assert.ok(!(await isHere(kept.repository('hub/a').blobs.stat(digestOf(layerOf('shared'))))))
    assert.ok(await isHere(kept.repository('hub/b').blobs.stat(digestOf(layerOf('shared')))))
    clocks.pass(5 * day)
    await kept.evictor.run()
    assert.equal(await kept.store.content.find(digestOf(layerOf('shared'))), undefined)
  })

  for (const [what, jump] of [
    ['forward', 10 * 365 * day],
    ['back', -10 * 365 * day],
  ] as const) {
    test(`a clock that is set ${what} by years makes nothing go, while it runs or while it does not (T-43)`, async () => {
      await using made = await makeKept({ ttl: 7 * day })
      const { folder, clocks, kept } = made
      const app = kept.repository('hub/app')
      const first = await storeImage(app, 'first', [layerOf('first')])
      clocks.set(jump)
      const second = await storeImage(app, 'second', [layerOf('second')])
      await kept.evictor.run()
      await kept[Symbol.asyncDispose]()
      clocks.set(jump)
      const options = { ttl: 7 * day }
      await using again = await keep(folder, clocks, options)
      for (const { digest } of [first, second])
        assert.ok(await isHere(again.repository('hub/app').manifests.get(digest)))
      clocks.set(-2 * jump)
      clocks.pass(6 * day)
      await again.evictor.run()
      for (const { digest } of [first, second])
        assert.ok(await isHere(again.repository('hub/app').manifests.get(digest)))
      await use(again, 'hub/app', first.digest)
      clocks.pass(2 * day)
      await again.evictor.run()
      const left = []
      for (const { digest } of [first, second])
        left.push(await isHere(again.repository('hub/app').manifests.get(digest)))
      assert.deepEqual(left, [true, false])
    })
  }
})

test('a survey that takes long says once a minute how far it is, and nothing goes before it is done', async () => {
  await using made = await makeKept()
  const { folder, clocks, kept } = made
  const { blobs } = kept.repository('hub/app')
  for (let number = 0; number < 60; number += 1) await blobs.put(layerOf(`layer ${number}`, 100))
  await kept[Symbol.asyncDispose]()
  const driver = filesystemDriver({ rootDirectory: folder })
  const list = driver.list.bind(driver)
  driver.list = async (path) => {
    clocks.pass(61_000)
    return await list(path)
  }
  await using again = await keep(folder, clocks, { driver, maxSize: 1 })
  const messages = again.lines.map(({ msg }) => String(msg)).filter((msg) => /^survey|^evicted/.test(msg))
  assert.equal(messages[0], 'survey of the storage begins')
  assert.equal(messages.at(-1), 'evicted')
  assert.equal(messages.at(-2), 'survey of the storage done')
  assert.ok(messages.length > 3)
  assert.deepEqual(new Set(messages.slice(1, -2)), new Set(['survey of the storage goes on']))
  const line = again.lines.find(({ msg }) => msg === 'survey of the storage goes on')
  assert.ok(Number(line?.['blobs']) > 0 && Number(line?.['ms']) >= 60_000)
})

test('a tag that moves while its image is evicted stays, where it points now', async () => {
  const driver = inMemoryDriver()
  const [app, tag] = [parseRepositoryName('hub/app'), parseTag('v1')]
  const read = driver.read.bind(driver)
  let moving: Promise<void> | undefined
  let move: (() => Promise<void>) | undefined
  driver.read = async (path, limit) => {
    const bytes = await read(path, limit)
    if (path === tagCurrentPath(app, tag) && move !== undefined) {
      moving ??= move() // it waits for whoever has the tag to himself
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
    }
    return bytes
  }
  await using made = await makeKept({ driver, ttl: 60_000 })
  const { clocks, kept } = made
  const repository = kept.repository('hub/app')
  await storeImage(repository, 'v1', [layerOf('old')])
  clocks.pass(120_000)
  const { digest } = await storeImage(repository, undefined, [layerOf('new')])
  move = async () => await repository.tags.put(tag, digest)
  await kept.evictor.run()
  assert.ok(moving !== undefined)
  await moving
  assert.equal(await repository.tags.find(tag), digest)
})

// What storage offers to whoever makes room: blobs that are in use stay, and all that happens is told.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { Fact } from '../../src/registry/usage.ts'
import { blobPath, linkPath } from '../../src/storage/layout.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { pattern } from '../drivers/conformance.ts'
import { hasError } from '../support/errors.ts'
import { chunksOf, latest, listed, manifestOf, name, openStore, push, storageSuite } from './fixture.ts'

const unneeded = (): boolean => false

storageSuite('making room', (check) => {
  check('a blob that is free leaves nothing', async ({ store, driver, repository }) => {
    const digest = await push(repository, pattern(100_000))
    await store.discardable(name).blobs.delete(digest)
    assert.equal(await store.free(digest, unneeded), 100_000)
    assert.equal(await store.content.find(digest), undefined)
    assert.deepEqual(await driver.list(`/docker/registry/v2/blobs/sha256/${digest.slice(7, 9)}`).catch(() => []), [])
    assert.equal(await store.free(digest, unneeded), undefined)
    await push(repository, pattern(100_000))
    const { body } = await repository.blobs.open(digest)
    assert.equal((await collect(body, 100_000)).byteLength, 100_000)
  })

  check('a blob that is needed, or being read, stays', async ({ store, repository }) => {
    const digest = await push(repository, pattern(1_000_000))
    assert.equal(await store.free(digest, () => true), undefined)
    for (const leave of ['by reading to the end', 'by leaving the loop', 'by disposing it']) {
      const { body } = await repository.blobs.open(digest)
      assert.equal(await store.free(digest, unneeded), undefined, leave)
      if (leave === 'by disposing it') await body[Symbol.asyncDispose]()
      else for await (const _ of body) if (leave === 'by leaving the loop') break
      assert.equal(store.isInUse(digest), false, leave)
    }
    await assert.rejects(repository.blobs.open(digest, { range: { start: 9_000_000, end: undefined } }))
    assert.equal(store.isInUse(digest), false)
    assert.equal(await store.free(digest, unneeded), 1_000_000)
  })

  check('a blob that came by its sha512 stays as long as it is held by that', async ({ store }) => {
    const bytes = pattern(100_000)
    const digest = digestOf(bytes, 'sha512')
    const holds = [store.content.hold(digest), store.content.hold(digest)]
    await using upload = await store.content.receive({ digest })
    await upload.append(chunksOf(bytes, 64 * 1024))
    await upload.commit(digest)
    for (const hold of holds) {
      assert.equal(store.isInUse(digestOf(bytes)), true)
      assert.equal(await store.free(digestOf(bytes), unneeded), undefined)
      hold[Symbol.dispose]()
    }
    assert.equal(store.isInUse(digestOf(bytes)), false)
    assert.equal(await store.free(digestOf(bytes), unneeded), 100_000)
  })

  check(
    'a repository can be discarded from where clients may not delete',
    async ({ driver, descriptors, repository }) => {
      const { descriptor } = await repository.manifests.put(manifestOf('a'))
      await repository.tags.put(latest, descriptor.digest)
      const closed = openLocalRegistry({ driver, descriptors, deleteEnabled: false, logger: silentLogger })
      await assert.rejects(closed.removable(name).manifests.delete(descriptor.digest), hasError('UNSUPPORTED'))
      const discardable = closed.discardable(name)
      await discardable.tags.delete(latest)
      await discardable.manifests.delete(descriptor.digest)
      await assert.rejects(repository.manifests.get(descriptor.digest), hasError('MANIFEST_UNKNOWN'))
      const folder = linkPath(name, 'manifests', descriptor.digest).replace(/\/link$/, '')
      await assert.rejects(driver.stat(folder), 'its folder is gone too')
    },
  )

  check('a survey finds what was told', async ({ driver, descriptors }) => {
    const told: Fact[] = []
    const usage = { note: (fact: Fact) => void told.push(fact), used: () => {} }
    const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: silentLogger, usage })
    const repository = store.repository(name)
    await push(repository, pattern(1000))
    const { descriptor } = await repository.manifests.put(manifestOf('a'))
    await repository.tags.put(latest, descriptor.digest)
    const sha512 = digestOf(manifestOf('b'), 'sha512')
    await repository.manifests.put(manifestOf('b'), { digest: sha512 })
    const found = await listed(store.survey({ signal: new AbortController().signal }))
    const texts = (facts: Fact[]): string[] =>
      [...new Set(facts.map(({ ...fact }) => JSON.stringify({ ...fact, modified: undefined })))].toSorted()
    assert.deepEqual(texts(found), texts(told))
  })

  check(
    'a survey that cannot read a folder fails, rather than find nothing there',
    async ({ store, driver, repository }) => {
      await push(repository, pattern(1000))
      const survey = async (): Promise<number> =>
        (await listed(store.survey({ signal: new AbortController().signal }))).length
      await survey()
      driver.arm(0)
      const whole = await survey()
      const manifests = new Set((await listed(repository.manifests.list())).map((digest) => blobPath(digest)))
      driver.arm(0)
      await survey()
      const calls = [...driver.calls]
      for (let nth = 1; nth <= calls.length; nth++) {
        const { method, path } = calls[nth - 1] ?? assert.fail()
        if (method === 'read' && manifests.has(path)) continue // one manifest is not the disk
        driver.arm(nth)
        await assert.rejects(survey(), `call ${nth} failed unseen`)
      }
      driver.arm(0)
      assert.equal(await survey(), whole)
      await driver.remove('/docker/registry/v2/repositories')
      await assert.rejects(survey(), 'blobs without any repository')
    },
  )
})

suite('making room at the same moment', () => {
  for (const [what, link] of [
    ['pushed', async (store: ReturnType<typeof openStore>, bytes: Buffer) => await push(store.repository(name), bytes)],
    [
      'put',
      async (store: ReturnType<typeof openStore>, bytes: Buffer) => await store.repository(name).blobs.put(bytes),
    ],
  ] as const) {
    test(`P3: a blob that is ${what} while it is taken away is stored`, async () => {
      const driver = inMemoryDriver()
      const bytes = pattern(10_000)
      const digest = digestOf(bytes)
      let pushing: Promise<unknown> | undefined
      const remove = async (path: string): Promise<void> => {
        if (blobPath(digest).startsWith(path)) {
          pushing = link(store, bytes)
          for (let turns = 0; turns < 200; turns++) await new Promise(setImmediate) // long enough to be done, if it may
        }
        await driver.remove(path)
      }
      const slow = new Proxy(driver, {
        get: (target, key) => {
          const member: unknown = Reflect.get(target, key)
          if (key === 'remove') return remove
          return typeof member === 'function' ? (member.bind(target) as unknown) : member
        },
      })
      const store = openLocalRegistry({
        driver: slow,
        descriptors: descriptorCache(openFactStore({ kind: 'memory' }, silentLogger)),
        deleteEnabled: true,
        logger: silentLogger,
      })
      await store.repository(name).blobs.put(bytes)
      await store.discardable(name).blobs.delete(digest)
      assert.equal(await store.free(digest, unneeded), 10_000)
      assert.ok(pushing !== undefined)
      await pushing
      const { body } = await openStore(driver).repository(name).blobs.open(digest)
      assert.equal(digestOf(await collect(body, 10_000)), digest)
    })
  }
})

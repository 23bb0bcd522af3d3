// What every store of facts does.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { Facts, type FactStore } from '../../src/cache/facts.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'

export interface StoreUnderTest extends AsyncDisposable {
  readonly store: FactStore
}

export interface FactStoreConformanceOptions {
  readonly skip?: string | false | undefined
}

export function factStoreConformance(
  name: string,
  makeStore: () => Promise<StoreUnderTest>,
  { skip = false }: FactStoreConformanceOptions = {},
): void {
  const check = (sentence: string, body: (store: FactStore) => Promise<void>): void => {
    test(sentence, { skip }, async () => {
      await using made = await makeStore()
      await body(made.store)
    })
  }

  suite(`${name} store of facts`, () => {
    check('a fact is known until it is deleted', async (store) => {
      const facts = new Facts(store, 'number', parseNumber)
      assert.equal(await facts.find('a'), undefined)
      await facts.set('a', 1)
      await facts.set('a', 2)
      assert.equal(await facts.find('a'), 2)
      await facts.delete('a')
      assert.equal(await facts.find('a'), undefined)
      await facts.delete('a')
    })

    check('facts of two kinds share nothing', async (store) => {
      const one = new Facts(store, 'one', parseNumber)
      const two = new Facts(store, 'two', parseNumber)
      await one.set('a', 1)
      assert.equal(await two.find('a'), undefined)
    })

    check('a fact goes when its time is over', async (store) => {
      const facts = new Facts(store, 'number', parseNumber, 1)
      await facts.set('a', 1)
      const end = performance.now() + 20
      while (performance.now() < end) await new Promise(setImmediate)
      assert.equal(await facts.find('a'), undefined)
    })

    check('what is no such fact is not known, and is overwritten', async (store) => {
      const facts = new Facts(store, 'number', parseNumber)
      for (const garbage of ['text', null, {}, [1], true, 'x'.repeat(100_000)]) {
        await store.set('number:a', garbage, 60_000)
        assert.equal(await facts.find('a'), undefined)
        await facts.set('a', 1)
        assert.equal(await facts.find('a'), 1)
      }
    })

    check('descriptors are known by whose they are', async (store) => {
      const cache = descriptorCache(store)
      const digest = digestOf('a')
      const descriptor = { mediaType: 'application/octet-stream', digest, size: 1 }
      const [here, there] = [parseRepositoryName('a/b'), parseRepositoryName('a')]
      await cache.set({ repository: here, kind: 'blobs' }, digest, descriptor)
      assert.deepEqual(await cache.find({ repository: here, kind: 'blobs' }, digest), descriptor)
      assert.equal(await cache.find({ repository: here, kind: 'manifests' }, digest), undefined)
      assert.equal(await cache.find({ repository: there, kind: 'blobs' }, digest), undefined)
      assert.equal(await cache.find('content', digest), undefined)
      // T-47: cleared here, it stays cleared when others learn of it.
      await cache.clear({ repository: here, kind: 'blobs' }, digest)
      await cache.set('content', digest, descriptor)
      await cache.set({ repository: there, kind: 'blobs' }, digest, descriptor)
      assert.equal(await cache.find({ repository: here, kind: 'blobs' }, digest), undefined)
    })

    check('a descriptor that is not one is not known', async (store) => {
      const cache = descriptorCache(store)
      const digest = digestOf('a')
      const mediaType = 'a/b'
      const wrong: readonly unknown[] = [
        {},
        { mediaType, digest },
        { mediaType, digest, size: '1' },
        { mediaType, digest, size: -1 },
        { mediaType, digest, size: 1.5 },
        { mediaType, digest, size: 2 ** 60 },
        { mediaType, digest: 'sha256:1', size: 1 },
        { mediaType: 1, digest, size: 1 },
        'text',
      ]
      for (const value of wrong) {
        await store.set(`descriptor:@${digest}`, value, 60_000)
        assert.equal(await cache.find('content', digest), undefined, JSON.stringify(value))
      }
    })
  })
}

export function parseNumber(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}

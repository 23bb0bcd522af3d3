import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { TokenCache, type Token } from '../../src/upstream/token-cache.ts'

/** A cache with a clock of its own, and a token server that numbers its tokens. */
function counting(
  limit?: number,
  lifetime = 1000,
): {
  cache: TokenCache
  get: (key?: string) => Promise<string>
  fetches: () => number
  at: (now: number) => void
} {
  let now = 0
  let count = 0
  const cache = new TokenCache({ clock: () => now, limit })
  const fetch = async (): Promise<Token> => ({ value: `t${(count += 1)}`, lifetime })
  return {
    cache,
    get: async (key = 'key') => await cache.get(key, fetch),
    fetches: () => count,
    at: (time) => void (now = time),
  }
}

test('P4: a token is fetched once for all who wait', async () => {
  const cache = new TokenCache()
  const answer = deferred<Token>()
  let fetches = 0
  const fetch = async (): Promise<Token> => {
    fetches += 1
    return await answer.promise
  }
  const waiters = Array.from({ length: 20 }, async () => await cache.get('key', fetch))
  answer.resolve({ value: 'shared', lifetime: 1000 })
  assert.deepEqual(new Set(await Promise.all(waiters)), new Set(['shared']))
  assert.equal(fetches, 1)
})

test('a token is used until shortly before its end, then renewed while it is still in use', async () => {
  const { get, at, fetches } = counting()
  assert.equal(await get(), 't1')
  at(799)
  assert.equal(await get(), 't1')
  assert.equal(fetches(), 1)
  at(800)
  assert.equal(await get(), 't1')
  assert.equal(fetches(), 2)
  assert.equal(await get(), 't2')
})

test('a token that has ended is fetched before the request goes on', async () => {
  const { get, at } = counting()
  await get()
  at(1000)
  assert.equal(await get(), 't2')
})

test('a renewal that fails leaves the token in use, is told of, and is not repeated at once', async () => {
  let now = 0
  let fetches = 0
  const told: unknown[] = []
  const cache = new TokenCache({ clock: () => now, onRenewalFailure: (error) => told.push(error) })
  const get = async (): Promise<string> =>
    await cache.get('key', async () => {
      fetches += 1
      if (fetches > 1) throw new Error('no')
      return { value: 't1', lifetime: 1000 }
    })
  await get()
  now = 800
  assert.equal(await get(), 't1')
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(told.length, 1)
  now = 850
  assert.equal(await get(), 't1')
  assert.equal(fetches, 2)
  now = 1000
  await assert.rejects(get(), { message: 'no' })
})

test('a refused token that is older than the request is forgotten, its successor is not', async () => {
  const { cache, get } = counting()
  await get()
  cache.refused('key', 't1', 1)
  assert.equal(await get(), 't2')
  cache.refused('key', 't1', 1)
  assert.equal(await get(), 't2')
})

test('P7: a token that was refused although it is new is not fetched again for half a minute', async () => {
  const { cache, get, at, fetches } = counting(undefined, 3_600_000)
  await get()
  cache.refused('key', 't1', 0) // fetched for this very request
  at(29_999)
  cache.refused('key', 't1', 29_000)
  assert.equal(await get(), 't1')
  assert.equal(fetches(), 1)
  at(30_000)
  cache.refused('key', 't1', 30_000)
  assert.equal(await get(), 't2')
})

test('P7: only so many tokens are remembered, those in use before others', async () => {
  const { get, fetches } = counting(2)
  await get('a')
  await get('b')
  await get('a')
  await get('c')
  assert.equal(fetches(), 3)
  await get('a')
  assert.equal(fetches(), 3)
  await get('b')
  assert.equal(fetches(), 4)
})

test("a waiter's signal ends its wait, not the fetch", async () => {
  const cache = new TokenCache()
  const answer = deferred<Token>()
  const controller = new AbortController()
  const fetch = async (): Promise<Token> => await answer.promise
  const leaving = cache.get('key', fetch, controller.signal)
  const staying = cache.get('key', fetch)
  controller.abort(new Error('left'))
  await assert.rejects(leaving, { message: 'left' })
  answer.resolve({ value: 'shared', lifetime: 1000 })
  assert.equal(await staying, 'shared')
})

import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Facts } from '../../src/cache/facts.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { factStoreConformance, parseNumber } from './conformance.ts'

factStoreConformance('the memory', async () => {
  const store = openFactStore({ kind: 'memory' }, silentLogger)
  return { store, [Symbol.asyncDispose]: async () => await store[Symbol.asyncDispose]() }
})

suite('the memory store of facts', () => {
  test('P7: it holds so many facts and no more, the least used goes first', async () => {
    await using store = openFactStore({ kind: 'memory', entries: 3 }, silentLogger)
    const facts = new Facts(store, 'number', parseNumber)
    for (const key of [1, 2, 3]) await facts.set(`${key}`, key)
    await facts.find('1')
    await facts.set('4', 4)
    const known = await Promise.all(['1', '2', '3', '4'].map(async (key) => await facts.find(key)))
    assert.deepEqual(known, [1, undefined, 3, 4])
  })

  test('no store remembers nothing', async () => {
    await using store = openFactStore({ kind: 'none' }, silentLogger)
    const facts = new Facts(store, 'number', parseNumber)
    await facts.set('a', 1)
    assert.equal(await facts.find('a'), undefined)
    await facts.delete('a')
  })
})

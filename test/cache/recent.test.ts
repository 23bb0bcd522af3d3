import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recent } from '../../src/cache/recent.ts'

test('P7: no more are held than was said, and the least used one goes first', () => {
  const held = recent<string, number>(3)
  for (const [index, key] of ['a', 'b', 'c'].entries()) held.set(key, index)
  assert.equal(held.get('a'), 0)
  held.set('d', 3)
  assert.deepEqual([...held.keys()], ['d', 'a', 'c'])
  for (let count = 0; count < 1000; count += 1) held.set(String(count), count)
  assert.equal(held.size, 3)
})

test('what is set again, or deleted, takes the room of one', () => {
  const held = recent<string, number>(2)
  held.set('a', 1)
  for (let count = 0; count < 10; count += 1) held.set('b', count)
  assert.equal(held.get('a'), 1)
  held.delete('a')
  held.set('c', 3)
  assert.deepEqual([held.get('b'), held.get('c')], [9, 3])
})

test('whoever asks hears what goes, and why', () => {
  const gone: [string, string][] = []
  const held = recent<string, number>(1, { dispose: (_value, key, reason) => void gone.push([key, reason]) })
  held.set('a', 1)
  held.set('a', 2)
  held.set('b', 3)
  held.delete('b')
  assert.deepEqual(gone, [
    ['a', 'set'],
    ['a', 'evict'],
    ['b', 'delete'],
  ])
})

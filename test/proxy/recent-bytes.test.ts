import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentBytes } from '../../src/proxy/recent-bytes.ts'

test('the newest bytes are found by their offset, older ones are gone', () => {
  const recent = new RecentBytes(4)
  for (const text of ['ab', 'cd', 'ef', 'gh']) recent.push(Buffer.from(text))
  assert.equal(recent.end, 8)
  assert.equal(recent.at(3), undefined)
  assert.equal(Buffer.from(recent.at(4) ?? []).toString(), 'efgh', 'all that is there, in one go')
  assert.equal(Buffer.from(recent.at(7) ?? []).toString(), 'h')
  assert.equal(recent.at(8), undefined)
})

test('what was pushed may be overwritten by its owner', () => {
  const recent = new RecentBytes(4)
  const chunk = Buffer.from('ab')
  recent.push(chunk)
  chunk.fill('x')
  assert.equal(Buffer.from(recent.at(0) ?? []).toString(), 'ab')
})

test('P7: memory is bounded by the limit and one piece', () => {
  const recent = new RecentBytes(1000)
  for (let index = 0; index < 10_000; index += 1) recent.push(Buffer.alloc(64))
  let kept = 0
  for (let at = recent.end - 1; recent.at(at) !== undefined; at -= 1) kept += 1
  assert.ok(kept >= 1000 && kept < 2000, `${kept} bytes kept`)
})

test('a stream of any chunks is found again, from whatever offset is here', () => {
  const bytes = Buffer.from(Array.from({ length: 3000 }, (_, at) => at % 251))
  const recent = new RecentBytes(700, 5)
  for (let at = 0, size = 1; at < bytes.byteLength; at += size, size = ((size * 7) % 997) + 1) {
    recent.push(bytes.subarray(at, at + size))
    for (let from = recent.start; from < recent.end; from += 13) {
      const found = recent.at(from)
      assert.ok(found !== undefined && found.byteLength > 0)
      assert.deepEqual(Buffer.from(found), bytes.subarray(from - 5, from - 5 + found.byteLength))
    }
  }
  assert.equal(recent.end, 3005)
})

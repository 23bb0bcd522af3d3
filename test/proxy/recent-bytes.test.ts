import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentBytes } from '../../src/proxy/recent-bytes.ts'

test('the newest bytes are found by their offset, older ones are gone', () => {
  const recent = new RecentBytes(4)
  for (const text of ['ab', 'cd', 'ef', 'gh']) recent.push(Buffer.from(text))
  assert.equal(recent.end, 8)
  assert.equal(recent.at(3), undefined)
  assert.equal(Buffer.from(recent.at(4) ?? []).toString(), 'ef')
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

test('P7: memory is bounded by the limit and one chunk', () => {
  const recent = new RecentBytes(1000)
  for (let index = 0; index < 10_000; index += 1) recent.push(Buffer.alloc(64))
  let kept = 0
  for (let at = recent.end - 1; recent.at(at) !== undefined; at -= 1) kept += 1
  assert.ok(kept >= 1000 && kept < 1064, `${kept} bytes kept`)
})

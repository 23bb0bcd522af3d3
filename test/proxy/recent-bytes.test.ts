import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentBytes } from '../../src/proxy/recent-bytes.ts'

/** A copy of what is lent from there on. */
function at(recent: RecentBytes, offset: number): Buffer | undefined {
  using lent = recent.lend(offset)
  return lent === undefined ? undefined : Buffer.from(lent.bytes)
}

test('the newest bytes are found by their offset, older ones are gone', () => {
  const recent = new RecentBytes(4)
  for (const text of ['ab', 'cd', 'ef', 'gh']) recent.push(Buffer.from(text))
  assert.equal(recent.end, 8)
  assert.equal(at(recent, 3), undefined)
  assert.equal(String(at(recent, 4)), 'efgh', 'all that is there, in one go')
  assert.equal(String(at(recent, 7)), 'h')
  assert.equal(at(recent, 8), undefined)
})

test('what was pushed may be overwritten by its owner', () => {
  const recent = new RecentBytes(4)
  const chunk = Buffer.from('ab')
  recent.push(chunk)
  chunk.fill('x')
  assert.equal(String(at(recent, 0)), 'ab')
})

test('P7: memory is bounded by the limit and one piece', () => {
  const recent = new RecentBytes(1000)
  for (let index = 0; index < 10_000; index += 1) recent.push(Buffer.alloc(64))
  let kept = 0
  for (let offset = recent.end - 1; at(recent, offset) !== undefined; offset -= 1) kept += 1
  assert.ok(kept >= 1000 && kept < 2000, `${kept} bytes kept`)
})

test('a stream of any chunks is found again, from whatever offset is here', () => {
  const bytes = Buffer.from(Array.from({ length: 3000 }, (_, index) => index % 251))
  const recent = new RecentBytes(700, 5)
  for (let next = 0, size = 1; next < bytes.byteLength; next += size, size = ((size * 7) % 997) + 1) {
    recent.push(bytes.subarray(next, next + size))
    for (let from = recent.start; from < recent.end; from += 13) {
      const found = at(recent, from)
      assert.ok(found !== undefined && found.byteLength > 0)
      assert.deepEqual(found, bytes.subarray(from - 5, from - 5 + found.byteLength))
    }
  }
  assert.equal(recent.end, 3005)
})

test('P1: what is lent stays as it is, however much is pushed meanwhile, and room that nobody sees is used again', () => {
  const recent = new RecentBytes(4)
  recent.push(Buffer.from('abcd'))
  const lent = recent.lend(1)
  const other = recent.lend(0)
  for (const text of ['efgh', 'ijkl', 'mnop']) recent.push(Buffer.from(text))
  assert.equal(recent.lend(1), undefined)
  other?.[Symbol.dispose]()
  recent.push(Buffer.from('qrst'))
  assert.equal(String(lent?.bytes), 'bcd')
  lent?.[Symbol.dispose]()
  recent.push(Buffer.from('uvwx'))
  assert.equal(String(lent?.bytes), 'vwx')
  assert.equal(String(at(recent, recent.end - 4)), 'uvwx')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseContentLength, parseContentRange, type ContentRange } from '../../src/upstream/content-range.ts'

const table: ReadonlyArray<[string | undefined, ContentRange | undefined]> = [
  ['bytes 0-9/100', { interval: { start: 0, end: 10 }, size: 100 }],
  ['bytes 5-5/6', { interval: { start: 5, end: 6 }, size: 6 }],
  ['bytes 0-9/*', { interval: { start: 0, end: 10 }, size: undefined }],
  ['bytes */0', { interval: undefined, size: 0 }],
  ['bytes */*', undefined],
  ['bytes 9-0/100', undefined],
  ['bytes 0-100/100', undefined],
  ['items 0-9/100', undefined],
  ['bytes 0-9', undefined],
  ['bytes 0-9/100, bytes 0-9/100', undefined],
  [undefined, undefined],
]

for (const [header, expected] of table) {
  test(`Content-Range «${header ?? 'missing'}» is ${expected === undefined ? 'refused' : 'read'}`, () => {
    assert.deepEqual(parseContentRange(header), expected)
  })
}

test('Content-Length is digits or nothing', () => {
  assert.equal(parseContentLength('12'), 12)
  for (const bad of [undefined, '', '-1', '1e3', '0x10', '12, 12', '9'.repeat(20)]) {
    assert.equal(parseContentLength(bad), undefined)
  }
})

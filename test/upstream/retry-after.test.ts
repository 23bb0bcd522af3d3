import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRetryAfter } from '../../src/upstream/retry-after.ts'

const now = Date.parse('2026-03-01T12:00:00Z')

const table: ReadonlyArray<[string | undefined, number | undefined]> = [
  [undefined, undefined],
  ['', undefined],
  ['17', 17],
  [' 17 ', 17],
  ['0', 1],
  ['1000000000', 3600],
  ['-5', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['2026', 2026],
  ['Sun, 01 Mar 2026 12:00:30 GMT', 30],
  ['Sun, 01 Mar 2026 11:00:00 GMT', 1],
  ['Sun, 01 Mar 2099 12:00:00 GMT', 3600],
  ['Sun, 99 Mar 2026 12:00:30 GMT', undefined],
  ['March 1', undefined],
]

for (const [header, expected] of table) {
  test(`Retry-After «${header ?? 'missing'}» means ${expected ?? 'nothing'}`, () => {
    assert.equal(parseRetryAfter(header, now), expected)
  })
}

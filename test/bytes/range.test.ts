import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contentRange, parseRangeHeader, resolveRange } from '../../src/bytes/range.ts'
import { RangeNotSatisfiableError } from '../../src/oci/error.ts'

const beyond = Number.MAX_SAFE_INTEGER - 1

test('a Range header is read as RFC 9110 has it', () => {
  const cases: [string | undefined, ReturnType<typeof parseRangeHeader>][] = [
    [undefined, undefined],
    ['items=0-1', undefined],
    ['bytes=0-0', [{ start: 0, end: 1 }]],
    ['bytes=5-', [{ start: 5 }]],
    ['bytes=-5', [{ suffix: 5 }]],
    ['BYTES = 0-1 , -2', [{ start: 0, end: 2 }, { suffix: 2 }]],
    ['bytes=5-2', []],
    ['bytes=-', []],
    ['bytes=a-b', []],
    ['bytes=', []],
    ['bytes=,', []],
    ['bytes=,1-2,,', [{ start: 1, end: 3 }]],
    ['bytes=1-99999999999999999999', [{ start: 1, end: beyond + 1 }]],
    ['bytes=-9223372036854775807', [{ suffix: beyond }]],
    ['bytes=99999999999999999999-', [{ start: beyond }]],
    [`bytes=${Array.from({ length: 10_000 }, () => '0-0').join(',')}`, undefined],
  ]
  for (const [header, specs] of cases) assert.deepEqual(parseRangeHeader(header), specs, header)
})

test('a range is cut to the content, and refused where it misses it', () => {
  assert.deepEqual(resolveRange({ start: 5, end: 100 }, 10), { start: 5, end: 10 })
  assert.deepEqual(resolveRange({ start: 9 }, 10), { start: 9, end: 10 })
  assert.deepEqual(resolveRange({ suffix: 3 }, 10), { start: 7, end: 10 })
  assert.deepEqual(resolveRange({ suffix: 30 }, 10), { start: 0, end: 10 })
  assert.deepEqual(resolveRange({ start: 5, end: beyond + 1 }, 10), { start: 5, end: 10 })
  assert.deepEqual(resolveRange({ suffix: beyond }, 10), { start: 0, end: 10 })
  for (const spec of [{ start: 10 }, { start: beyond }, { start: 11, end: 12 }, { suffix: 0 }]) {
    assert.throws(() => resolveRange(spec, 10), RangeNotSatisfiableError)
  }
  assert.throws(() => resolveRange({ start: 0 }, 0), RangeNotSatisfiableError)
  assert.throws(() => resolveRange({ suffix: 1 }, 0), RangeNotSatisfiableError)
  assert.equal(contentRange({ start: 0, end: 10 }, 100), 'bytes 0-9/100')
})

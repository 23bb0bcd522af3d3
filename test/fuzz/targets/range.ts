// Range and Content-Range, of clients and of upstreams: src/bytes/range.ts, src/api/content-range.ts, src/upstream/content-range.ts.
import assert from 'node:assert/strict'
import { parseChunkRange } from '../../../src/api/content-range.ts'
import { parseRangeHeader, resolveRange, type ByteRange, type RangeSpec } from '../../../src/bytes/range.ts'
import { RangeNotSatisfiableError, RegistryError } from '../../../src/oci/error.ts'
import { parseContentLength, parseContentRange } from '../../../src/upstream/content-range.ts'
import type { Target } from '../fuzzer.ts'

const size = 1000

export const target: Target = {
  seeds: [
    'bytes=0-9',
    'bytes=5-',
    'bytes=-5',
    'bytes=0-1,3-4',
    'bytes 0-9/100',
    'bytes */100',
    'bytes 0-9/*',
    '0-9',
    '123',
  ],
  words: ['bytes', 'BYTES', '=', ' ', '-', ',', '/', '*', '999999999999999', '9007199254740993', '\t'],
  check(input) {
    const specs = parseRangeHeader(input)
    if (specs !== undefined && specs.length > 0) {
      assert.deepEqual(parseRangeHeader(`bytes=${specs.map(formatSpec).join(',')}`), specs)
    }
    for (const spec of specs ?? []) checkRange(spec)
    checkChunk(input)
    const range = parseContentRange(input)
    if (range !== undefined) {
      const { interval, size: whole = '*' } = range
      const text = interval === undefined ? '*' : `${interval.start}-${interval.end - 1}`
      assert.deepEqual(parseContentRange(`bytes ${text}/${whole}`), range)
      assert.ok(interval === undefined || interval.start < interval.end)
    }
    const length = parseContentLength(input)
    assert.ok(length === undefined || (Number.isSafeInteger(length) && length >= 0))
  },
}

function formatSpec(spec: RangeSpec): string {
  if ('suffix' in spec) return `-${spec.suffix}`
  return `${spec.start}-${spec.end === undefined ? '' : spec.end - 1}`
}

function checkRange(spec: RangeSpec): void {
  let range: ByteRange
  try {
    range = resolveRange(spec, size)
  } catch (error) {
    assert.ok(error instanceof RangeNotSatisfiableError, String(error))
    return
  }
  assert.ok(0 <= range.start && range.start < range.end && range.end <= size, JSON.stringify(range))
}

function checkChunk(input: string): void {
  try {
    const { start = 0, length = 1 } = parseChunkRange(input) ?? {}
    assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(start + length) && length > 0)
  } catch (error) {
    assert.ok(error instanceof RegistryError && error.code === 'RANGE_INVALID', String(error))
  }
}

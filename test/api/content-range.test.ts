import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseChunkRange } from '../../src/api/content-range.ts'
import { hasError } from '../support/errors.ts'
import { mutated, property } from '../support/seeded.ts'

test('a chunk says where it begins and how long it is, in the form of this API or of RFC 9110', () => {
  assert.equal(parseChunkRange(undefined), undefined)
  for (const text of ['5-9', 'bytes 5-9', 'bytes=5-9', 'bytes 5-9/10', 'bytes 5-9/*', '5-9/10']) {
    assert.deepEqual(parseChunkRange(text), { start: 5, length: 5 }, text)
  }
  assert.deepEqual(parseChunkRange('0-0'), { start: 0, length: 1 })
  for (const text of [
    '',
    '-',
    '5',
    '5-',
    '-5',
    '9-5',
    ' 5-9',
    '5-9 ',
    '5-9,11-12',
    'items 5-9',
    '+5-9',
    '5-0x9',
    '5-9/x',
  ]) {
    assert.throws(() => parseChunkRange(text), hasError('RANGE_INVALID'), text)
  }
})

/** Both numbers of the form without a unit, by hand. */
function numbersOf(text: string): readonly [number, number] | undefined {
  const [first = '', last = '', ...more] = text.split('-')
  const isNumber = (part: string): boolean =>
    part.length > 0 && part.length <= 15 && Array.from(part).every((one) => '0123456789'.includes(one))
  if (more.length > 0 || !isNumber(first) || !isNumber(last)) return undefined
  return Number(first) <= Number(last) ? [Number(first), Number(last)] : undefined
}

property('a chunk is what a reader by hand finds, or none', (random) => {
  const text = mutated(random, `${random.int(2 ** 31)}-${random.int(2 ** 31)}`, '0123456789-- x')
  const numbers = numbersOf(text)
  if (numbers === undefined) return assert.throws(() => parseChunkRange(text), hasError('RANGE_INVALID'), text)
  const [first, last] = numbers
  assert.deepEqual(parseChunkRange(text), { start: first, length: last - first + 1 }, text)
})

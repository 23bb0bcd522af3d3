import assert from 'node:assert/strict'
import { test } from 'node:test'
import { percentile, spreadOf, spreadText, timesText } from '../../bench/statistics.ts'

test('the median of several runs, and between which two all lie', () => {
  assert.deepEqual(spreadOf([5, 1, 9]), { median: 5, min: 1, max: 9 })
  assert.deepEqual(spreadOf([9, 1, 5, 7]), { median: 6, min: 1, max: 9 })
  assert.deepEqual(spreadOf([10, 9]), { median: 9.5, min: 9, max: 10 }, 'as numbers, not as text')
  assert.deepEqual(spreadOf([3]), { median: 3, min: 3, max: 3 })
  assert.equal(spreadOf([]), undefined)
})

test('a percentile is one of the values', () => {
  const values = Array.from({ length: 200 }, (_, index) => index + 1)
  assert.equal(percentile(values, 0.99), 198)
  assert.equal(percentile(values, 0.5), 100)
  assert.equal(percentile([4], 0.99), 4)
  assert.ok(Number.isNaN(percentile([], 0.5)))
})

test('a figure has its unit, and its spread where there is one', () => {
  assert.equal(spreadText({ median: 12_345.6, min: 9000, max: 20_000 }, '/s'), '12,346 /s (9,000–20,000)')
  assert.equal(spreadText({ median: 1, min: 1, max: 1 }, '×'), '1.00×')
  assert.equal(spreadText({ median: 0.25, min: 0.25, max: 0.25 }, 's/GB'), '0.25 s/GB')
  assert.equal(timesText(1.034), '1.03×')
  assert.equal(timesText(52.4), '52×')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/config-error.ts'
import { parseDuration } from '../../src/config/duration.ts'

const durations: readonly (readonly [text: string, milliseconds: number])[] = [
  ['0', 0],
  ['0s', 0],
  ['5s', 5000],
  ['+5s', 5000],
  ['300ms', 300],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['1.s', 1000],
  ['1h30m', 5_400_000],
  ['1h0m0.25s', 3_600_250],
  ['168h', 604_800_000],
  ['7d', 604_800_000],
  ['1d12h', 129_600_000],
  ['500us', 0.5],
  ['500µs', 0.5],
  ['500μs', 0.5],
  ['1000000ns', 1],
  ['0.1s0.2s', 300],
]

test('durations are read as Go writes them, and days', () => {
  for (const [text, milliseconds] of durations) assert.equal(parseDuration(text), milliseconds, text)
})

test('what is no duration is refused', () => {
  const texts = [
    '',
    's',
    '5',
    '5 s',
    '5x',
    '5S',
    '1h-5m',
    '-5s',
    '1e3s',
    '..5s',
    '1.2.3s',
    '300y',
    '1000000d',
    'NaN',
    '5s ',
  ]
  for (const text of texts) assert.throws(() => parseDuration(text), ConfigError, text)
})

test('a bare number counts nanoseconds only where distribution has it so', () => {
  assert.equal(parseDuration('5000000', { bare: 'nanoseconds' }), 5)
  assert.equal(parseDuration('0', { bare: 'nanoseconds' }), 0)
  assert.equal(parseDuration('5s', { bare: 'nanoseconds' }), 5000)
  assert.throws(() => parseDuration('99999999999999999999', { bare: 'nanoseconds' }), ConfigError)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pace } from '../../src/upstream/pace.ts'

function pace(): { came: (bytes: number, after: number) => boolean; busy: (time: number) => void } {
  let now = 0
  const counted = new Pace(() => now)
  return {
    came(bytes, after) {
      counted.wait()
      now += after
      return counted.isTooSlow(bytes)
    },
    busy: (time) => void (now += time),
  }
}

test('less than 1 KiB a second over half a minute is too slow', () => {
  const { came } = pace()
  for (let second = 1; second < 30; second += 1) assert.equal(came(1023, 1000), false)
  assert.equal(came(1023, 1000), true)
})

test('1 KiB a second goes on for ever, in small pieces or in large ones with a rest between them', () => {
  const { came } = pace()
  for (let second = 0; second < 300; second += 1) assert.equal(came(1024, 1000), false)
  for (let minute = 0; minute < 5; minute += 1) assert.equal(came(30 * 1024, 30_000), false)
})

test('a transfer that was fast and drips from then on is too slow', () => {
  const { came } = pace()
  came(1_000_000, 1000)
  let seconds = 0
  while (!came(1, 1000)) seconds += 1
  assert.ok(seconds < 60, `${seconds} s`)
})

test('the time that the reader takes does not count', () => {
  const { came, busy } = pace()
  for (let chunk = 0; chunk < 300; chunk += 1) {
    assert.equal(came(1, 10), false)
    busy(60_000)
  }
})

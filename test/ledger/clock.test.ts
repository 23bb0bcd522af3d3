// The ledger's time goes on steadily.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LedgerClock, type KeptTime } from '../../src/ledger/clock.ts'
import { Clocks } from './fixture.ts'

const hour = 60 * 60_000

function open({ wall, monotonic }: Clocks, kept?: KeptTime): LedgerClock {
  return new LedgerClock({ kept, wall, monotonic })
}

test('it goes on as time passes, whatever the machine is told (T-43)', () => {
  const clocks = new Clocks()
  const clock = open(clocks)
  const start = clock.now()
  for (const jump of [365 * 24 * hour, -3650 * 24 * hour, 61_000]) clocks.set(jump)
  clocks.pass(hour)
  assert.ok(Math.abs(clock.now() - start - hour) < 1)
})

test('it goes on from where it was kept; a stop counts as an hour at most', () => {
  for (const [stopped, counted] of [
    [60_000, 60_000],
    [1000 * hour, hour],
    [-1000 * hour, 0],
  ] as const) {
    const clocks = new Clocks()
    const before = open(clocks)
    const kept = before.keep()
    clocks.set(stopped)
    assert.ok(Math.abs(open(clocks, kept).now() - kept.now - counted) < 1)
  }
})

test('no two answers are the same', () => {
  const clock = open(new Clocks())
  const answers = Array.from({ length: 1000 }, () => clock.now())
  assert.ok(answers.every((now, at) => at === 0 || now > (answers[at - 1] ?? Infinity)))
})

// When a signal counts as a second one, which ends the server at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SignalEcho } from '../../src/cli/signal-echo.ts'

test('the same signal within half a second is one; later, or another, is a second one', () => {
  let now = 1000
  const signals = new SignalEcho(() => now)
  assert.equal(signals.repeats('SIGINT'), false)
  assert.equal(signals.repeats('SIGINT'), true)
  assert.equal(signals.repeats('SIGTERM'), false)
  now += 499
  assert.equal(signals.repeats('SIGINT'), true)
  now += 1 // of the first one: whoever sends it all the time is heard
  assert.equal(signals.repeats('SIGINT'), false)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { anonymous, type Credentials } from '../../src/upstream/credentials.ts'
import { Refusals } from '../../src/upstream/refusals.ts'

const no = new UpstreamError('credentials-refused', 'r.example', 'no')
const alice: Credentials = { kind: 'password', username: 'alice', password: 'one' }

test('a refusal is remembered for half a minute, for the same thing and the same credentials only', () => {
  let now = 0
  const refusals = new Refusals({ clock: () => now })
  refusals.remember('a', alice, no)
  now = 29_999
  assert.throws(() => refusals.check('a', alice), no)
  refusals.check('b', alice)
  refusals.check('a', anonymous)
  refusals.check('a', { ...alice, password: 'two' })
  now = 30_000
  refusals.check('a', alice)
})

test('P7: only so many refusals are remembered, the oldest goes first', () => {
  const refusals = new Refusals({ limit: 2 })
  for (const what of ['a', 'b', 'a', 'c']) refusals.remember(what, alice, no)
  refusals.check('b', alice)
  assert.throws(() => refusals.check('a', alice), no)
  assert.throws(() => refusals.check('c', alice), no)
})

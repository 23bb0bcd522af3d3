import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counterOf } from '../support/outside/proc.ts'

test('a counter of the kernel is found by its name, among others of its kind', () => {
  const text = 'TcpExt: SyncookiesSent TCPTimeouts\nTcpExt: 3 17\nIpExt: InNoRoutes TCPTimeouts\nIpExt: 5 6\n'
  assert.equal(counterOf(text, 'TcpExt', 'TCPTimeouts'), 17)
  assert.equal(counterOf(text, 'IpExt', 'InNoRoutes'), 5)
  assert.ok(Number.isNaN(counterOf(text, 'TcpExt', 'InNoRoutes')))
})

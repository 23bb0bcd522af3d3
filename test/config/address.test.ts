import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findAddress } from '../../src/config/address.ts'

test('an address is a host that may be missing, and a port', () => {
  assert.deepEqual(findAddress(':5000'), { host: '', port: 5000 })
  assert.deepEqual(findAddress('127.0.0.1:0'), { host: '127.0.0.1', port: 0 })
  assert.deepEqual(findAddress('localhost:65535'), { host: 'localhost', port: 65_535 })
  assert.deepEqual(findAddress('[::1]:5000'), { host: '::1', port: 5000 })
  assert.deepEqual(findAddress('redis', 6379), { host: 'redis', port: 6379 })
  assert.deepEqual(findAddress('[::1]', 6379), { host: '::1', port: 6379 })
})

test('what is no address is none', () => {
  for (const text of [
    '',
    '5000',
    'localhost',
    ':',
    ':65536',
    ':http',
    '::1:5000',
    '[localhost]:1',
    'http://a:1',
    'a b:1',
  ]) {
    assert.equal(findAddress(text), undefined, text)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StorageConfig } from '../../src/config/config.ts'
import { load, refusal } from './given.ts'

function storage(keys: string): StorageConfig {
  const { config, warnings } = load(`version: 0.1\nstorage: { inmemory: , ${keys} }\n`)
  assert.deepEqual(warnings, [])
  return config.storage
}

test('content is proven on its first read, unless something else is asked for', () => {
  assert.equal(storage('').verify, 'first')
  for (const verify of ['first', 'always', 'never'] as const) assert.equal(storage(`verify: ${verify}`).verify, verify)
  assert.match(refusal('version: 0.1\nstorage: { inmemory: , verify: sometimes }\n'), /storage\.verify.*first, always/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StorageConfig } from '../../src/config/storage-section.ts'
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

test('what is stored is read in the background where that is asked for', () => {
  const usual = { enabled: false, interval: 7 * 86_400_000, rate: 20 * 1024 * 1024 }
  assert.deepEqual(storage('').scrub, usual)
  assert.deepEqual(storage('scrub: { enabled: true }').scrub, { ...usual, enabled: true })
  const asked = { enabled: true, interval: 36 * 3_600_000, rate: 1024 * 1024 }
  assert.deepEqual(storage('scrub: { enabled: true, interval: 36h, rate: 1MiB }').scrub, asked)
})

test('P7: the background reading has a pause and a rate', () => {
  const { config, warnings } = load(
    'version: 0.1\nstorage: { inmemory: , scrub: { enabled: true, interval: 0, rate: 1 } }\n',
  )
  assert.deepEqual(config.storage.scrub, { enabled: true, interval: 3_600_000, rate: 65_536 })
  assert.match(warnings.join('\n'), /scrub\.interval.*hour[^]*scrub\.rate.*64KiB/)
  assert.equal(storage('scrub: { interval: 0, rate: 0 }').scrub.enabled, false)
})

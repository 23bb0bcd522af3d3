import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UploadPurgingConfig } from '../../src/config/storage-section.ts'
import { load } from './given.ts'

const hour = 3_600_000

function purging(keys: string): { readonly purging: UploadPurgingConfig; readonly warnings: readonly string[] } {
  const { config, warnings } = load(`version: 0.1\nstorage: { inmemory: , maintenance: { uploadpurging: ${keys} } }\n`)
  return { purging: config.storage.uploadPurging, warnings }
}

const usual = { enabled: true, age: 168 * hour, interval: 24 * hour, dryRun: false }

test('each key of uploadpurging is read, and each has its default', () => {
  for (const [keys, expected] of [
    ['', usual],
    ['{ enabled: false }', { ...usual, enabled: false }],
    [
      '{ enabled: true, age: 36h, interval: 1h30m, dryrun: true }',
      { enabled: true, age: 36 * hour, interval: 1.5 * hour, dryRun: true },
    ],
    ['{ age: 0 }', { ...usual, age: 0 }],
    ['{ age: 3600000000000 }', { ...usual, age: hour }],
  ] as const) {
    assert.deepEqual(purging(keys), { purging: expected, warnings: [] }, keys)
  }
})

test('P7: uploads are not purged without a pause', () => {
  const { purging: found, warnings } = purging('{ interval: 0s }')
  assert.equal(found.interval, 60_000)
  assert.match(warnings.join(), /uploadpurging\.interval.*minute/)
  assert.deepEqual(purging('{ enabled: false, interval: 0s }').warnings, [])
})

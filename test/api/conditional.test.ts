import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noneMatch, rangeApplies } from '../../src/api/conditional.ts'
import { digestOf } from '../../src/oci/digest.ts'

const digest = digestOf('a')

test('If-None-Match names the content by its digest, quoted, weak, bare, in a list, or by a star', () => {
  for (const header of [digest, `"${digest}"`, `W/"${digest}"`, `"x", "${digest}"`, '*']) {
    assert.ok(noneMatch(header, digest), header)
  }
  for (const header of [undefined, '', '""', `"${digestOf('b')}"`, Array(2000).fill('"x"').join(',')]) {
    assert.ok(!noneMatch(header, digest), header)
  }
})

test('If-Range lets a range through only for exactly this content', () => {
  assert.ok(rangeApplies(undefined, digest))
  assert.ok(rangeApplies(`"${digest}"`, digest))
  for (const header of [`W/"${digest}"`, digest, '"x"', 'Sat, 21 Nov 2026 00:00:00 GMT']) {
    assert.ok(!rangeApplies(header, digest), header)
  }
})

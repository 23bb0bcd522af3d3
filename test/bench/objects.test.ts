import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blobOf, isPartOf } from '../support/outside/objects.ts'

test('P1: any part of a blob is known to be one, however it is cut', () => {
  const size = 2 * 1024 * 1024 + 20
  const { read } = blobOf(size)
  for (const middle of [1024 * 1024, 2 * 1024 * 1024]) {
    const around = Buffer.concat([read(middle - 16, middle), read(middle, middle + 16)])
    for (let start = 0; start < 32; start += 1) {
      for (let end = start + 1; end <= 32; end += 1) {
        const part = Buffer.from(around.subarray(start, end))
        assert.ok(isPartOf(read, part, middle - 16 + start), `${start} to ${end}`)
        part[part.length - 1] = (part[part.length - 1] ?? 0) ^ 1
        assert.ok(!isPartOf(read, part, middle - 16 + start))
      }
    }
  }
})

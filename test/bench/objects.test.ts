import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { archiveOf } from '../support/outside/archive.ts'
import { blobOf, isPartOf, pieceEnd } from '../support/outside/objects.ts'

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

for (const size of [0, 1, 512, 1000, 2 * 1024 * 1024 + 100]) {
  test(`an archive of a file of ${size} bytes is one, in whatever pieces it is read`, () => {
    const seed = Buffer.alloc(16, 7)
    const archive = archiveOf('file', size, seed)
    const parts: Buffer[] = []
    for (let at = 0; at < archive.size; at = pieceEnd(at, archive.size)) {
      const end = pieceEnd(at, archive.size)
      const middle = at + Math.floor((end - at) / 3)
      parts.push(archive.read(at, middle), archive.read(middle, end))
    }
    const whole = Buffer.concat(parts)
    assert.equal(whole.length, archive.size)
    assert.equal(`sha256:${createHash('sha256').update(whole).digest('hex')}`, archive.digest)
    const head = whole.subarray(0, 512)
    assert.equal(head.toString('latin1', 257, 262), 'ustar')
    assert.equal(parseInt(head.toString('latin1', 124, 135), 8), size)
    const sum = parseInt(head.toString('latin1', 148, 154), 8)
    head.fill(' ', 148, 156)
    assert.equal(
      head.reduce((total, byte) => total + byte, 0),
      sum,
    )
    const { read } = blobOf(size, seed)
    assert.ok(isPartOf(read, whole.subarray(512, 512 + size), 0))
    const rest = whole.subarray(512 + size)
    assert.ok(rest.length >= 1024 && whole.length % 512 === 0)
    assert.ok(rest.equals(Buffer.alloc(rest.length)))
  })
}

// Collections of very much, and of what somebody made to be slow.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { StoredDocument } from '../../src/storage/garbage/document.ts'
import { DigestSet } from '../../src/storage/garbage/digest-set.ts'
import { keepManifests, type StoredLink } from '../../src/storage/garbage/keep.ts'

suite('garbage in great numbers', () => {
  test('P7: a subject has as many referrers as it likes', () => {
    const subject = digestOf('subject')
    const revisions = new Map<Digest, StoredLink>([[subject, { target: subject, modified: 0 }]])
    const documents = new Map<Digest, StoredDocument>([[subject, { names: [], subject: undefined, isSchema1: false }]])
    for (let at = 0; at < 150_000; at++) {
      const digest: Digest = `sha256:${at.toString(16).padStart(64, '0')}` as Digest
      revisions.set(digest, { target: digest, modified: 0 })
      documents.set(digest, { names: [], subject, isSchema1: false })
    }
    assert.equal(keepManifests(revisions, documents, (digest) => digest === subject).size, 150_001)
  })

  test('P7: digests that were made to look alike do not meet in one place (else this takes minutes)', () => {
    for (const make of [
      (text: string): string => text + '0'.repeat(56),
      (text: string): string => `${'0'.repeat(8)}${text}${'0'.repeat(48)}`,
    ]) {
      const set = new DigestSet()
      const digests = Array.from({ length: 50_000 }, (_, at) => `sha256:${make(at.toString(16).padStart(8, '0'))}`)
      for (const digest of digests) set.add(digest as Digest)
      assert.equal(set.size, digests.length)
      assert.ok(digests.every((digest) => set.has(digest as Digest)))
      assert.ok(!set.has(digestOf('another')))
    }
  })
})

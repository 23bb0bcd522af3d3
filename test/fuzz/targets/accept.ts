// What clients say that they can read, or have: src/api/negotiation.ts, src/api/conditional.ts.
import assert from 'node:assert/strict'
import { entityTag, noneMatch, rangeApplies } from '../../../src/api/conditional.ts'
import { parseAccept } from '../../../src/api/negotiation.ts'
import { parseDigest } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import type { Target } from '../fuzzer.ts'

const digest = parseDigest(`sha256:${'0a'.repeat(32)}`)
const type = mediaTypes.ociManifest

export const target: Target = {
  seeds: [
    '*/*',
    `${type}, ${mediaTypes.dockerManifest};q=0.5`,
    entityTag(digest),
    `W/${entityTag(digest)}, "a,b"`,
    digest,
  ],
  words: [',', ';q=', '*', '"', 'W/', type, 'application/*', ' ', '\t', digest],
  check(input) {
    const accepted = parseAccept(input)
    assert.equal(typeof accepted.accepts(type), 'boolean')
    assert.ok(parseAccept(`${type},${input}`).accepts(type), 'the first type counts, whatever follows')
    assert.ok(!input.includes('*') ? !parseAccept(`x/y,${input}`).accepts('not/named') : true)
    assert.ok(noneMatch(`${entityTag(digest)}, ${input}`, digest), 'the first tag counts, whatever follows')
    if (!input.includes(digest) && !input.includes('*')) assert.ok(!noneMatch(input, digest))
    assert.equal(rangeApplies(input, digest), input.trim() === entityTag(digest))
  },
}

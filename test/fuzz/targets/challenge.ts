// WWW-Authenticate of upstreams: src/upstream/challenge.ts.
import assert from 'node:assert/strict'
import { parseChallenges, type Challenge } from '../../../src/upstream/challenge.ts'
import type { Target } from '../fuzzer.ts'

export const target: Target = {
  seeds: [
    'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
    'Basic realm="a \\"quoted\\" one", Bearer realm=https://bare.example/token',
    'Negotiate abc==, Digest x = y',
  ],
  words: ['Bearer ', 'Basic ', 'realm=', '"', '\\"', ',', '=', '==', ' ', '\t', 'scope="a:b:c"'],
  check(input) {
    const challenges = parseChallenges([input])
    assert.ok(challenges.length <= 16)
    for (const { scheme, parameters } of challenges) {
      assert.equal(scheme, scheme.toLowerCase())
      assert.ok(parameters.size <= 32)
    }
    assert.deepEqual(parseChallenges(challenges.map(format)), challenges)
  },
}

function format({ scheme, parameters }: Challenge): string {
  const pairs = [...parameters].map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`)
  return `${scheme} ${pairs.join(', ')}`
}

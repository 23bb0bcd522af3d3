// The Link of an upstream's next page: src/upstream/link.ts.
import assert from 'node:assert/strict'
import { UpstreamError } from '../../../src/registry/upstream-error.ts'
import { nextLink } from '../../../src/upstream/link.ts'
import type { Target } from '../fuzzer.ts'

const from = new URL('https://registry.example/v2/a/tags/list?n=1')

export const target: Target = {
  seeds: [
    '</v2/a/tags/list?n=1&last=b>; rel="next"',
    '<https://registry.example/x>; title="a, b"; rel="prev next"',
    '<https://evil.example/>; rel=next',
  ],
  words: [
    '<',
    '>',
    ';',
    'rel=',
    '"next"',
    'next',
    '"',
    '\\',
    ',',
    'https://',
    '//evil.example',
    '@',
    '#',
    'me:p@',
    '..',
  ],
  check(input) {
    let next: URL | undefined
    try {
      next = nextLink([input], from)
    } catch (error) {
      assert.ok(error instanceof UpstreamError, String(error))
      return
    }
    if (next === undefined) return
    assert.equal(next.origin, from.origin)
    assert.deepEqual([next.hash, next.username, next.password], ['', '', ''])
    assert.equal(nextLink([`<${next.href}>; rel=next`], from)?.href, next.href)
  },
}

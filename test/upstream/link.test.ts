import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextLink } from '../../src/upstream/link.ts'

const from = new URL('https://registry.example/v2/a/tags/list?n=1')

const table: ReadonlyArray<[string[], string | undefined]> = [
  [[], undefined],
  [['</v2/a/tags/list?n=1&last=b>; rel="next"'], 'https://registry.example/v2/a/tags/list?n=1&last=b'],
  [['<?last=c>;rel=next'], 'https://registry.example/v2/a/tags/list?last=c'],
  [['<https://registry.example/x>; title="a, <b>"; rel="last next"'], 'https://registry.example/x'],
  [['</first>; rel="first", </second>; rel="next"'], 'https://registry.example/second'],
  [['</first>; rel="first"', '</second>; rel="next"'], 'https://registry.example/second'],
  [['</x>; rel="prev"'], undefined],
  [['</x>; rel="nextish"'], undefined],
  [['garbage'], undefined],
]

for (const [lines, expected] of table) {
  test(`Link «${lines.join(' | ')}» leads to ${expected ?? 'nowhere'}`, () => {
    assert.equal(nextLink(lines, from)?.href, expected)
  })
}

test('P8: a list does not go on at another origin', () => {
  for (const target of [
    'https://evil.example/x',
    'http://registry.example/x',
    '//evil.example/x',
    'https://u@registry.example/',
  ])
    assert.throws(() => nextLink([`<${target}>; rel="next"`], from), { name: 'UpstreamError' })
})

test('P7: a header of spaces is read as fast as any other', () => {
  const began = performance.now()
  assert.equal(nextLink([`</v2/x>; rel=${' '.repeat(100_000)}x`], new URL('http://registry.test/')), undefined)
  assert.ok(performance.now() - began < 2000)
})

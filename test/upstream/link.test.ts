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
  [['</x>; Rel = "NEXT"'], 'https://registry.example/x'],
  [['</x>; rel="prev"; title="a=b"; rel=next; x'], 'https://registry.example/x'],
  [['</x>; rel="next=1"'], undefined],
  [['</x>; relation=next'], undefined],
  [['</x>; rel=   '], undefined],
  [['</x>; rel=\t  "  last\t  next  "'], 'https://registry.example/x'],
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

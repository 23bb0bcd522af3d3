import assert from 'node:assert/strict'
import { test } from 'node:test'
import { table, withMeasured } from '../support/outside/measured-page.ts'

test('new figures take the place of the old ones, and the prose around them stays', () => {
  const page = 'before\n\n<!-- measured -->\n\nold\n\n<!-- /measured -->\n\nbehind\n'
  const expected = 'before\n\n<!-- measured -->\n\nnew\n\n<!-- /measured -->\n\nbehind\n'
  assert.equal(withMeasured(page, 'new'), expected)
  assert.equal(withMeasured(expected, 'new'), expected)
  assert.throws(() => withMeasured('no markers', 'new'), /no markers/)
  assert.throws(() => withMeasured(page, 'new', 'of another kind'), /no markers/)
  assert.throws(() => withMeasured('<!-- /measured --> <!-- measured -->', 'new'), /no markers/)
})

test('a page has places for figures of several kinds', () => {
  const page = '<!-- one -->\n\na\n\n<!-- /one -->\n\n<!-- two -->\n\nb\n\n<!-- /two -->\n'
  assert.equal(withMeasured(page, 'new', 'two'), page.replace('\nb\n', '\nnew\n'))
})

test('a bar in a cell is no end of it', () => {
  assert.equal(table(['a', 'b'], [['1|2', '3']]), '| a | b |\n| --- | --- |\n| 1\\|2 | 3 |')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { table, withMeasured } from '../support/outside/measured-page.ts'

test('new figures take the place of the old ones, and the prose around them stays', () => {
  const page = 'before\n\n<!-- measured -->\n\nold\n\n<!-- /measured -->\n\nbehind\n'
  const expected = 'before\n\n<!-- measured -->\n\nnew\n\n<!-- /measured -->\n\nbehind\n'
  assert.equal(withMeasured(page, 'new'), expected)
  assert.equal(withMeasured(expected, 'new'), expected)
  assert.throws(() => withMeasured('no markers', 'new'), /no markers/)
  assert.throws(() => withMeasured('<!-- /measured --> <!-- measured -->', 'new'), /no markers/)
})

test('a bar in a cell is no end of it', () => {
  assert.equal(table(['a', 'b'], [['1|2', '3']]), '| a | b |\n| --- | --- |\n| 1\\|2 | 3 |')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readAs } from '../../src/config/keys.ts'
import { count, text } from '../../src/config/leaf.ts'
import { list, mapOf, section } from '../../src/config/section.ts'

test('what does not fit first, in the order of the schema, is what is told', () => {
  const schema = section({ first: list(count), second: mapOf(section({ inner: text })) })
  const refusals = [
    [{ first: ['1', 'x'], second: [] }, 'first[1]: found "x", expected a whole number, 0 or more'],
    [{ second: { a: {}, b: 'x' }, none: '' }, 'second.b: found text, expected a map'],
    [{ second: { a: { iner: '' } } }, 'second.a.iner: unknown key; did you mean second.a.inner?'],
    [{ secnd: {}, first: [] }, 'secnd: unknown key; did you mean second?'],
    [{ first: { a: 'b' } }, 'first: found a map, expected a list'],
    [{ first: {} }, 'first: found nothing, expected a list'],
    [[], 'at: found a list, expected a map'],
  ] as const
  for (const [value, message] of refusals) {
    const at = Array.isArray(value) ? ['at'] : []
    assert.throws(() => readAs(schema, value, at), { name: 'ConfigError', message })
  }
})

test('every key of an operator’s own map is kept, whatever its name', () => {
  const value: unknown = JSON.parse('{ "__proto__": "a", "constructor": "b", "toString": "c" }')
  const read = readAs(mapOf(text), value)
  assert.deepEqual(Object.entries(read), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
    ['toString', 'c'],
  ])
  assert.equal(Object.getPrototypeOf(read), Object.prototype)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatTraceparent, parseTraceparent } from '../../src/tracing/context.ts'

const trace = '0af7651916cd43dd8448eb211c80319c'
const span = 'b7ad6b7169203331'

test('a traceparent is read and written', () => {
  const context = parseTraceparent(`00-${trace}-${span}-01`)
  assert.deepEqual(context, { traceId: trace, spanId: span, traceFlags: 1, isRemote: true })
  assert.equal(context && formatTraceparent(context), `00-${trace}-${span}-01`)
  assert.equal(parseTraceparent(`00-${trace}-${span}-00`)?.traceFlags, 0)
  assert.equal(parseTraceparent(`cc-${trace}-${span}-01-later`)?.traceId, trace)
})

test('anything else is none', () => {
  for (const header of [
    undefined,
    '',
    ['a', 'b'],
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01-more`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace}-${span}`,
    `00-${trace}-${span}-01\n`,
    'x'.repeat(10_000),
  ]) {
    assert.equal(parseTraceparent(header), undefined, String(header).slice(0, 80))
  }
})

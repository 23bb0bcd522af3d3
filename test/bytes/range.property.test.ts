import assert from 'node:assert/strict'
import { parseRangeHeader, resolveRange, type RangeSpec } from '../../src/bytes/range.ts'
import { RangeNotSatisfiableError } from '../../src/oci/error.ts'
import { property, type Random } from '../support/seeded.ts'

/** The bytes of a content of `size` that one `first-last` asks for, looked at one by one; `undefined`: it is none. */
function bytesOf(text: string, size: number): number[] | undefined {
  const dash = text.indexOf('-')
  const [first, last] = [text.slice(0, dash), text.slice(dash + 1)]
  const isNumber = (part: string): boolean => Array.from(part).every((one) => '0123456789'.includes(one))
  if (dash < 0 || !isNumber(first) || !isNumber(last) || (first === '' && last === '')) return undefined
  if (first !== '' && last !== '' && Number(first) > Number(last)) return undefined
  return Array.from({ length: size }, (_, at) => at).filter((at) =>
    first === '' ? at >= size - Number(last) : at >= Number(first) && (last === '' || at <= Number(last)),
  )
}

function randomSpec(random: Random): string {
  const number = (): string => (random.oneIn(4) ? '' : String(random.int(14)))
  if (random.oneIn(30))
    return random.pick(['', '-', 'x-1', '1-x', '1', '--1', '1--2', '+1-2', '1.5-2', '0x1-2', '1- 2'])
  return `${random.oneIn(20) ? '0' : ''}${number()}-${number()}`
}

function resolved(spec: RangeSpec, size: number): number[] {
  try {
    const { start, end } = resolveRange(spec, size)
    assert.ok(start >= 0 && start < end && end <= size, `${start}-${end} of ${size}`)
    return Array.from({ length: end - start }, (_, at) => start + at)
  } catch (error) {
    if (error instanceof RangeNotSatisfiableError && error.size === size) return []
    throw error
  }
}

property('ranges are the bytes that a reader by hand finds, one by one', (random) => {
  const size = random.int(12)
  const texts = Array.from({ length: 1 + random.int(random.oneIn(20) ? 40 : 3) }, () => randomSpec(random))
  const space = (): string => random.text(' ', 0, 1)
  const header = `${random.pick(['bytes', 'Bytes'])}${space()}=${texts.map((text) => space() + text + space()).join(',')}`
  const specs = parseRangeHeader(header)
  const wanted = texts.filter((text) => text !== '').map((text) => bytesOf(text, size))
  if (texts.length > 32) assert.equal(specs, undefined, header)
  else if (wanted.includes(undefined)) assert.deepEqual(specs, [], header)
  else {
    assert.deepEqual(
      specs?.map((spec) => resolved(spec, size)),
      wanted,
      `${header} of ${size}`,
    )
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findAmbiguousKey, schema1Keys } from '../../src/oci/ambiguous-keys.ts'
import { property, type Random } from '../support/seeded.ts'

test('a key that is given twice, or in other letters than its own, is ambiguous', () => {
  const cases: readonly (readonly [json: string, key: string | undefined])[] = [
    ['{}', undefined],
    ['{"layers":[],"config":{}}', undefined],
    ['{"layers":[],"layers":[]}', 'layers'],
    ['{"layers":[],"\\u006cayers":[]}', 'layers'],
    ['{"Layers":[]}', 'Layers'],
    ['{"mediatype":"a"}', 'mediatype'],
    ['{"layerſ":[]}', 'layerſ'], // Go folds the long s
    ['{"config":{"DIGEST":"a"}}', 'DIGEST'],
    ['{"layers":[{"size":1},{"size":1}]}', undefined],
    ['{"layers":[{"size":1,"size":1}]}', 'size'],
    ['{"x":1,"x":2}', 'x'],
    ['{"x":1,"X":2}', undefined],
    ['{"x":"\\"layers\\":[],\\"layers\\"","y":"{"}', undefined],
    ['{"annotations":{"Layers":"a","OS":"b"}}', undefined],
    ['{"annotations":{"a":"1","a":"2"}}', 'a'],
    ['{"annotations":{"Layers":"a"},"Layers":[]}', 'Layers'],
    ['{"Annotations":{}}', 'Annotations'],
    ['{"extra":{"Size":1,"deep":[{"OS":1}]}}', undefined], // nobody looks into what has no name here
    ['{"extra":[{"Layers":[]}]}', undefined],
    ['{"extra":{"layers":{"Size":1}}}', undefined],
    ['{"extra":{"Size":1,"Size":2}}', 'Size'],
    ['{"extra":{},"Size":1}', 'Size'],
    ['{"config":{"extra":{"Size":1},"Size":1}}', 'Size'],
    ['{"manifests":[{"platform":{"features":["a"],"OS":"b"}}]}', 'OS'],
    ['[[{"OS":1}]]', 'OS'],
    ['{"layers":[[{"Digest":1}]]}', 'Digest'],
    ['[{"os":1},{"os":1}]', undefined],
    ['"layers"', undefined],
  ]
  for (const [json, key] of cases) assert.equal(findAmbiguousKey(json), key, json)
})

test('the keys of schema 1 count in documents of schema 1 only', () => {
  const cases: readonly (readonly [json: string, key: string | undefined])[] = [
    ['{"name":"a","tag":"b","fsLayers":[{"blobSum":"c"}],"history":[{"v1Compatibility":"d"}]}', undefined],
    ['{"Name":"a"}', 'Name'],
    ['{"TAG":"a"}', 'TAG'],
    ['{"fsLayers":[],"FSLayers":[]}', 'FSLayers'],
    ['{"fsLayers":[{"blobsum":"a"}]}', 'blobsum'],
    ['{"History":[]}', 'History'],
    ['{"history":[{"v1compatibility":"a"}]}', 'v1compatibility'],
    ['{"Signatures":[]}', 'Signatures'],
    ['{"signatures":[{"header":{"jwk":{"Name":"a"}}}]}', undefined],
    ['{"SchemaVersion":1}', 'SchemaVersion'],
  ]
  for (const [json, key] of cases) {
    assert.equal(findAmbiguousKey(json, schema1Keys), key, json)
    assert.equal(findAmbiguousKey(json), key === 'SchemaVersion' ? key : undefined, json)
  }
})

test('P7: what is nested deeper than any reader goes is refused, and long strings are read', () => {
  const nested = (depth: number): string => `{"x":${'['.repeat(depth)}${']'.repeat(depth)}}`
  assert.equal(findAmbiguousKey(nested(999)), undefined)
  assert.equal(findAmbiguousKey(nested(1000)), 'x')
  assert.equal(findAmbiguousKey(nested(1_000_000)), 'x')
  assert.equal(findAmbiguousKey(`{"a":${JSON.stringify('"\\'.repeat(1_000_000))}}`), undefined)
})

const structural: readonly [string, ...string[]] = ['layers', 'config', 'mediaType', 'digest', 'size', 'os', 'platform']
const free: readonly [string, ...string[]] = ['a', 'A', 'os.version', '', 'x"y', '{', '\\', 'é']

type Value = string | number | null | readonly Value[] | Fields
interface Fields {
  readonly fields: readonly (readonly [key: string, value: Value])[]
}

function isFields(value: Value): value is Fields {
  return typeof value === 'object' && value !== null && 'fields' in value
}

function randomKey(random: Random): string {
  if (random.oneIn(6)) return 'annotations'
  const key = random.oneIn(3) ? random.pick(free) : random.pick(structural)
  if (!random.oneIn(12)) return key
  return Array.from(key)
    .map((letter) =>
      random.oneIn(2)
        ? letter
        : letter === 's'
          ? 'ſ'
          : letter.toUpperCase() === letter
            ? letter.toLowerCase()
            : letter.toUpperCase(),
    )
    .join('')
}

function randomValue(random: Random, depth: number): Value {
  const kind = depth === 0 ? random.int(3) : random.int(6)
  if (kind === 0) return random.pick(['', '"layers":1,', '{"size":', ']', '}', ',', '\\"'])
  if (kind < 3) return random.pick([0, -1.5e3, null])
  if (kind === 3) return Array.from({ length: random.int(3) }, () => randomValue(random, depth - 1))
  return randomFields(random, depth)
}

function randomFields(random: Random, depth: number): Fields {
  const fields = Array.from(
    { length: random.int(4) },
    () => [randomKey(random), randomValue(random, depth - 1)] as const,
  )
  return { fields }
}

function render(random: Random, value: Value): string {
  const space = (): string => random.text(' \n\t', 0, 1)
  if (Array.isArray(value)) return `[${space()}${value.map((one: Value) => render(random, one)).join(`,${space()}`)}]`
  if (!isFields(value)) return JSON.stringify(value)
  const fields = value.fields.map(
    ([key, inner]) => `${renderText(random, key)}${space()}:${space()}${render(random, inner)}`,
  )
  return `{${space()}${fields.join(`${space()},`)}${space()}}`
}

/** Any letter may be written as an escape. */
function renderText(random: Random, text: string): string {
  const letters = Array.from(text).map((letter) =>
    random.oneIn(8) ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}` : JSON.stringify(letter).slice(1, -1),
  )
  return `"${letters.join('')}"`
}

/** The same question asked of the tree that the text was made from. */
function ambiguousIn(value: Value, isFree = false): string | undefined {
  if (Array.isArray(value)) {
    for (const one of value as readonly Value[]) {
      const found = ambiguousIn(one, isFree)
      if (found !== undefined) return found
    }
    return undefined
  }
  if (!isFields(value)) return undefined
  const seen: string[] = []
  for (const [key, inner] of value.fields) {
    if (seen.includes(key)) return key
    const plain = key.replaceAll('ſ', 's').toLowerCase()
    const isVariant = [...structural, 'annotations'].some((one) => one.toLowerCase() === plain && one !== key)
    if (isVariant && !isFree) return key
    seen.push(key)
    const found = ambiguousIn(inner, isFree || !structural.includes(key))
    if (found !== undefined) return found
  }
  return undefined
}

property('the first ambiguous key of a text is that of the tree it was made from', (random) => {
  const tree = randomFields(random, 4)
  const json = render(random, tree)
  JSON.parse(json)
  assert.equal(findAmbiguousKey(json), ambiguousIn(tree), json)
})

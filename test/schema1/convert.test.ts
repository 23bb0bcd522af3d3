import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { ConversionError, convertToSchema1, type Conversion } from '../../src/schema1/convert.ts'
import { emptyLayer, emptyLayerDigest, emptyLayerSize } from '../../src/schema1/empty-layer.ts'
import { parseCanonicalManifest, parseSignedManifest } from '../../src/schema1/manifest.ts'
import { signManifest } from '../../src/schema1/sign.ts'
import { rfcKey, vector } from './fixture.ts'

const one = digestOf('one')
const two = digestOf('two')

function convert(config: unknown, ...layers: readonly Digest[]): Conversion {
  return convertToSchema1({
    config: Buffer.from(typeof config === 'string' ? config : JSON.stringify(config)),
    layers,
    name: parseRepositoryName('a/b'),
    tag: parseTag('1'),
  })
}

function compatibilities(conversion: Conversion): readonly Record<string, unknown>[] {
  const { history } = parseCanonicalManifest(conversion.payload)
  return history.map((text) => JSON.parse(text) as Record<string, unknown>)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

test('the empty layer is a tar without entries, and each who asks has his own', () => {
  assert.equal(digestOf(emptyLayer()), emptyLayerDigest)
  assert.equal(emptyLayer().length, emptyLayerSize)
  assert.deepEqual(gunzipSync(emptyLayer()), Buffer.alloc(1024))
  emptyLayer().fill(0)
  assert.equal(digestOf(emptyLayer()), emptyLayerDigest)
})

test('an image becomes a manifest of schema 1', () => {
  const config = JSON.stringify({
    os: 'linux',
    architecture: 'arm64',
    config: { Cmd: ['/bin/sh'] },
    created: '2020-01-02T03:04:05.60Z',
    rootfs: { type: 'layers', diff_ids: ['sha256:1', 'sha256:2'] },
    history: [
      { created: '2020-01-02T03:04:05.600Z', created_by: '/bin/sh -c #(nop) ADD file', author: 'Zoë' },
      { created: '2020-01-02T03:04:06+00:00', created_by: 'ENV a=1', comment: 'quiet', empty_layer: true },
      { created: '2020-01-02T03:04:07.123456789123+02:00', created_by: 'RUN x && y > z' },
    ],
  })
  const conversion = convert(config, one, two)
  const bottomId = sha256(`${hexOf(one)} `)
  const middleId = sha256(`${hexOf(emptyLayerDigest)} ${bottomId}`)
  const topId = sha256(`${hexOf(two)} ${middleId} ${config}`)
  const manifest = parseCanonicalManifest(conversion.payload)
  assert.equal(conversion.usesEmptyLayer, true)
  assert.equal(conversion.digest, manifest.digest)
  assert.equal(manifest.name, 'a/b')
  assert.equal(manifest.tag, '1')
  assert.equal(manifest.architecture, 'arm64')
  assert.deepEqual(manifest.layers, [two, emptyLayerDigest, one])
  assert.deepEqual(manifest.history, [
    `{"architecture":"arm64","config":{"Cmd":["/bin/sh"]},"created":"2020-01-02T03:04:05.60Z","id":"${topId}","os":"linux","parent":"${middleId}"}`,
    `{"id":"${middleId}","parent":"${bottomId}","comment":"quiet","created":"2020-01-02T03:04:06Z","container_config":{"Cmd":["ENV a=1"]},"throwaway":true}`,
    `{"id":"${bottomId}","created":"2020-01-02T03:04:05.6Z","container_config":{"Cmd":["/bin/sh -c #(nop) ADD file"]},"author":"Zoë"}`,
  ])
  assert.deepEqual(
    parseSignedManifest(signManifest(conversion.payload, rfcKey, vector.time)).payload,
    conversion.payload,
  )
})

test('a converted manifest is written with three spaces, and its keys in the order of schema 1', () => {
  const { payload } = convert({ history: [{}], rootfs: { diff_ids: ['x'] } }, one)
  assert.match(
    payload.toString(),
    /^\{\n {3}"schemaVersion": 1,\n {3}"name": "a\/b",\n {3}"tag": "1",\n {3}"architecture": "",\n {3}"fsLayers": \[\n {6}\{\n {9}"blobSum": "sha256:\w+"\n {6}\}\n {3}\],\n {3}"history": \[\n {6}\{\n {9}"v1Compatibility": "\{[^\n]*\}"\n {6}\}\n {3}\]\n\}$/,
  )
})

test('what we do not know of a configuration stays as it is written', () => {
  const config =
    '{ "z" : [ 1.0 , 1e2, -0, 12345678901234567890, "\\u0041 \\/ a  b" ] ,\n"a<b":{"x":"<&>\u2028", "n": null},\t"\\u00e9":" \\" ","rootfs":{"diff_ids":["x"]}, "history":[{}],"a<b":{"y" : {} } }'
  const [text = ''] = parseCanonicalManifest(convert(config, one).payload).history
  const id = sha256(`${hexOf(one)}  ${config}`)
  assert.equal(
    text,
    `{"a\\u003cb":{"y":{}},"id":"${id}","z":[1.0,1e2,-0,12345678901234567890,"\\u0041 \\/ a  b"],"é":" \\" "}`,
  )
})

test('characters are escaped as Go escapes them', () => {
  const author = '<a>&\u2028\u2029\b\f\n\r\t\u0001\u007f"\\é📦\ud800\\b\\u003c'
  const history = [{ author }, {}]
  const { payload } = convert({ history, rootfs: { diff_ids: ['x', 'y'] } }, one, two)
  const [, text = ''] = parseCanonicalManifest(payload).history
  assert.ok(
    text.endsWith(
      '"author":"\\u003ca\\u003e\\u0026\\u2028\\u2029\\u0008\\u000c\\n\\r\\t\\u0001\u007f\\"\\\\é📦\ufffd\\\\b\\\\u003c"}',
    ),
    text,
  )
})

test('members are sorted by the bytes of their names', () => {
  const config = { '\u{10000}': 1, '\uffff': 2, Z: 3, a: 4, history: [{}], rootfs: { diff_ids: ['x'] } }
  const [top = {}] = compatibilities(convert(config, one))
  assert.deepEqual(Object.keys(top), ['Z', 'a', 'id', '\uffff', '\u{10000}'])
})

test('ids of the configuration give way to those that are made', () => {
  const config = { id: 'x', parent: 'y', throwaway: false, history: [{ empty_layer: true }], rootfs: null }
  const [top = {}] = compatibilities(convert(config))
  assert.match(String(top['id']), /^[0-9a-f]{64}$/)
  assert.equal(top['throwaway'], true)
  assert.equal(top['parent'], 'y')
})

test('a Windows image stands on the id of its base', () => {
  const rootfs = { type: 'layers+base', diff_ids: ['x', 'y'], base_layer: 'windows' }
  const history = [{}, {}, { empty_layer: true }]
  const [, middle, bottom] = compatibilities(convert({ history, rootfs }, one, two))
  const base = createHash('sha384').update('windows').digest('hex').slice(0, 64)
  assert.equal(bottom?.['parent'], base)
  assert.equal(bottom['id'], sha256(`${hexOf(one)} `))
  assert.equal(middle?.['parent'], bottom['id'])
})

test('times are written as Go writes them', () => {
  const times: [unknown, string | undefined][] = [
    [undefined, '0001-01-01T00:00:00Z'],
    [null, '0001-01-01T00:00:00Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00Z'],
    ['2020-02-29T23:59:59Z', '2020-02-29T23:59:59Z'],
    ['2000-02-29T00:00:00.000000000Z', '2000-02-29T00:00:00Z'],
    ['2020-01-01T00:00:00.1234567899-07:30', '2020-01-01T00:00:00.123456789-07:30'],
    ['2020-01-01T00:00:00-00:00', '2020-01-01T00:00:00Z'],
    ['2021-02-29T00:00:00Z', undefined],
    ['1900-02-29T00:00:00Z', undefined],
    ['2020-13-01T00:00:00Z', undefined],
    ['2020-00-01T00:00:00Z', undefined],
    ['2020-01-00T00:00:00Z', undefined],
    ['2020-01-01T24:00:00Z', undefined],
    ['2020-01-01T00:00:60Z', undefined],
    ['2020-01-01T00:00:00', undefined],
    ['2020-01-01 00:00:00Z', undefined],
    ['2020-01-01', undefined],
    ['', undefined],
    [0, undefined],
  ]
  for (const [created, expected] of times) {
    const config = { history: [{ created }, {}], rootfs: { diff_ids: ['x', 'y'] } }
    if (expected === undefined) {
      assert.throws(() => convert(config, one, two), /history\[0\]\.created is not a/, String(created))
    } else {
      assert.equal(compatibilities(convert(config, one, two))[1]?.['created'], expected)
    }
  }
})

test('an image that schema 1 has no words for is refused with a sentence', () => {
  const rootfs = { diff_ids: ['x'] }
  const deep = `{"history":${'['.repeat(100_000)}${']'.repeat(100_000)},"rootfs":{"diff_ids":["x"]}}`
  const manyEmpty = Array.from({ length: 60_000 }, () => ({ empty_layer: true }))
  const bad: [string, unknown, RegExp][] = [
    ['no JSON', '{', /the configuration is not JSON/],
    ['a list', '[]', /the configuration is not a JSON object/],
    ['an artifact', {}, /the configuration has 0 layers, the manifest 1/],
    ['no history', { rootfs }, /the image has no history/],
    ['an empty history', { rootfs, history: [] }, /the image has no history/],
    ['too few layers', { rootfs: { diff_ids: [] }, history: [{}] }, /has 0 layers, the manifest 1/],
    ['too many layers', { rootfs: { diff_ids: ['x', 'y'] }, history: [{}] }, /has 2 layers, the manifest 1/],
    ['too much history', { rootfs, history: [{}, {}] }, /the history has more layers than the image/],
    ['too little history', { rootfs, history: [{ empty_layer: true }] }, /the history has fewer layers than the image/],
    ['an object for a history', { rootfs, history: {} }, /history is not a list/],
    ['a text for a line', { rootfs, history: ['x'] }, /history\[0\] is not a JSON object/],
    ['a word for a flag', { rootfs, history: [{ empty_layer: 'true' }] }, /neither true nor false/],
    ['a number for a command', { rootfs, history: [{ created_by: 1 }] }, /created_by is not a text/],
    ['a text for rootfs', { rootfs: 'x', history: [{}] }, /rootfs is not a JSON object/],
    ['a number for an architecture', { rootfs, history: [{}], architecture: 1 }, /architecture is not a text/],
    ['depth', deep, /history\[0\] is not a JSON object/],
    ['text that grows', { rootfs, history: [{}], x: '"'.repeat(1_200_000) }, /larger than 4194304 bytes/],
    ['a history that grows', { rootfs, history: [{}, ...manyEmpty] }, /larger than 4194304 bytes/],
  ]
  for (const [what, config, message] of bad) {
    assert.throws(
      () => convert(config, one),
      (error) => error instanceof ConversionError && message.test(error.message),
      what,
    )
  }
})

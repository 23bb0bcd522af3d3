// What libtrust and distribution themselves make of our manifests, and we of theirs.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { convertToSchema1 } from '../../src/schema1/convert.ts'
import { emptyLayer } from '../../src/schema1/empty-layer.ts'
import { parseSignedManifest } from '../../src/schema1/manifest.ts'
import { signManifest } from '../../src/schema1/sign.ts'
import { generateSigningKey, loadSigningKey, signingKeyOf, type SigningKey } from '../../src/schema1/signing-key.ts'
import { startProcess, temporaryFolder, without, type Folder } from '../support/real-parts.ts'
import { certified, documentWith, ecKey, entryBy, payload, rsaKey, validEntry, type Entry } from './fixture.ts'

const skip = without('docker-registry')
const name = parseRepositoryName('a/b')
const tag = parseTag('1')

class Peer implements AsyncDisposable {
  readonly #process: AsyncDisposable
  readonly #url: string

  private constructor(process: AsyncDisposable, host: string) {
    this.#process = process
    this.#url = `http://${host}/v2/${name}`
  }

  /** distribution with schema 1, signing with the key of this file. */
  static async start(folder: Folder, keyFile: string, keyText: string): Promise<Peer> {
    const key = await folder.write(keyFile, keyText)
    const config = [
      'version: 0.1',
      'log: { level: info }',
      `storage: { filesystem: { rootdirectory: ${join(folder.path, randomUUID())} } }`,
      'http: { addr: 127.0.0.1:0, secret: none }',
      `compatibility: { schema1: { enabled: true, signingkeyfile: ${key} } }`,
    ]
    const file = await folder.write(`${randomUUID()}.yml`, config.join('\n'))
    const process = await startProcess('docker-registry', ['serve', file])
    const [, host = ''] = await process.waitFor(/listening on (127\.0\.0\.1:\d+)/)
    return new Peer(process, host)
  }

  async pushBlob(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf(bytes)
    const created = await fetch(`${this.#url}/blobs/uploads/`, { method: 'POST' })
    const place = new URL(created.headers.get('location') ?? '', this.#url)
    place.searchParams.set('digest', digest)
    const response = await fetch(place, { method: 'PUT', body: Buffer.from(bytes) })
    assert.equal(response.status, 201, await response.text())
    return digest
  }

  async putManifest(reference: string, bytes: Buffer, mediaType: string): Promise<Response> {
    const headers = { 'content-type': mediaType }
    return await fetch(`${this.#url}/manifests/${reference}`, { method: 'PUT', headers, body: Buffer.from(bytes) })
  }

  async getManifest(reference: string): Promise<{ bytes: Buffer; headers: Headers }> {
    const response = await fetch(`${this.#url}/manifests/${reference}`)
    const bytes = Buffer.from(await response.arrayBuffer())
    assert.equal(response.status, 200, bytes.toString())
    return { bytes, headers: response.headers }
  }

  /** Pushes an image as Docker has it today, under `tag`. */
  async pushImage(config: Buffer, layers: readonly Uint8Array[]): Promise<void> {
    const document = {
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', ...(await this.#describe(config)) },
      layers: await Promise.all(
        layers.map(async (layer) => ({
          mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
          ...(await this.#describe(layer)),
        })),
      ),
    }
    const response = await this.putManifest(tag, Buffer.from(JSON.stringify(document)), mediaTypes.dockerManifest)
    assert.equal(response.status, 201, await response.text())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
  }

  async #describe(bytes: Uint8Array): Promise<{ size: number; digest: Digest }> {
    return { size: bytes.length, digest: await this.pushBlob(bytes) }
  }
}

const layers = ['the lowest layer', 'a layer', 'the topmost layer'].map((text) => Buffer.from(text))
const diffIds = layers.map((layer) => digestOf(layer))

const plainConfig = {
  architecture: 'amd64',
  os: 'linux',
  config: { Cmd: ['/bin/sh', '-c', 'a && b > c'] },
  created: '2020-01-02T03:04:05.120Z',
  rootfs: { type: 'layers', diff_ids: diffIds },
  history: [
    { created: '2020-01-02T03:04:05.120Z', created_by: '/bin/sh -c #(nop) ADD file:x in / ' },
    { created: '2020-01-02T03:04:06Z', created_by: 'ENV a=1', empty_layer: true, comment: 'quiet' },
    { created: '2020-01-02T03:04:07+00:00', created_by: 'RUN a && b <c >d', author: 'Zoë <zoe@example.test>' },
    { created_by: 'COPY 📦 /' },
    { created: '2020-01-02T03:04:08.123456789+02:00', created_by: 'CMD ["/bin/sh"]', empty_layer: true },
  ],
}

/** Configurations that try each thing in which JSON has more than one spelling. */
const configs: readonly [string, string][] = [
  ['a plain image', JSON.stringify(plainConfig)],
  ['an indented configuration', JSON.stringify(plainConfig, null, '\t')],
  ['no empty layer', JSON.stringify({ ...plainConfig, history: [{}, {}, {}] })],
  [
    'a base layer',
    JSON.stringify({ ...plainConfig, rootfs: { type: 'layers+base', diff_ids: diffIds, base_layer: 'windows' } }),
  ],
  [
    'other characters',
    JSON.stringify({
      ...plainConfig,
      architecture: '<a>&\u2028\ud800',
      history: [{ author: '<&>\u2028\u2029\b\f\n\r\t\u0001\u007f"\\/é📦\ufffd\\b\\u003c' }, { comment: 'Zoë' }, {}],
    }),
  ],
  [
    'numbers, escapes and names that are kept',
    `{ "z" : [1.0, 1e2, -0, 12345678901234567890], "y":"\\u0041\\/\\b\\ud800<&>\u2028", "n":null, "a<b" :{"b":1, "a" : "\u2029"},
    "\\u00e9":" \\" ", "\u{10000}":1, "\uffff":2, "id":"x", "parent":"y", "Z":{},
    "history":[{"created":null},{"author":null,"empty_layer":null},{"created":"0001-01-01T00:00:00Z"}],
    "rootfs":{"diff_ids":${JSON.stringify(diffIds)}} }`,
  ],
]

test('an image says the same in schema 1 as distribution makes it say', { skip }, async (t) => {
  await using folder = await temporaryFolder()
  const pem = ecKey('P-256').export({ type: 'sec1', format: 'pem' }).toString()
  await using peer = await Peer.start(folder, 'key.pem', pem)
  for (const [what, text] of configs) {
    await t.test(what, async () => {
      const config = Buffer.from(text)
      await peer.pushImage(config, layers)
      const theirs = await peer.getManifest(tag)
      assert.equal(theirs.headers.get('content-type'), mediaTypes.dockerSchema1Signed)
      const manifest = parseSignedManifest(theirs.bytes)
      assert.equal(manifest.signatures[0]?.jwk?.['kid'], loadSigningKey(pem).id)
      const ours = convertToSchema1({ config, layers: diffIds, name, tag })
      assert.deepEqual(JSON.parse(ours.payload.toString()), JSON.parse(manifest.payload.toString()))
      assert.equal(ours.payload.toString(), manifest.payload.toString())
      assert.equal(theirs.headers.get('docker-content-digest'), ours.digest)
    })
  }
})

test('distribution takes our signed manifest, and serves it as we would', { skip }, async () => {
  await using folder = await temporaryFolder()
  const jwk = JSON.stringify(ecKey('P-384').export({ format: 'jwk' }))
  await using peer = await Peer.start(folder, 'key.json', jwk)
  for (const blob of [...layers, emptyLayer()]) await peer.pushBlob(blob)
  const keys = [generateSigningKey(), signingKeyOf(ecKey('P-384')), signingKeyOf(rsaKey(2048))]
  for (const [, text] of configs) {
    for (const key of keys) {
      const conversion = convertToSchema1({ config: Buffer.from(text), layers: diffIds, name, tag })
      const document = signManifest(conversion.payload, key, new Date())
      const response = await peer.putManifest(tag, document, mediaTypes.dockerSchema1Signed)
      assert.equal(response.status, 201, await response.text())
      assert.equal(response.headers.get('docker-content-digest'), conversion.digest)

      const { bytes } = await peer.getManifest(conversion.digest)
      const served = parseSignedManifest(bytes)
      assert.equal(served.payload.toString(), conversion.payload.toString())
      assert.equal(served.signatures[0]?.jwk?.['kid'], loadSigningKey(jwk).id)
      assert.equal(resigned(served.payload, loadSigningKey(jwk)), withoutSigning(bytes))
    }
  }
})

test('distribution refuses the signatures that we refuse, and takes those that we take', { skip }, async () => {
  await using folder = await temporaryFolder()
  await using peer = await Peer.start(folder, 'key.json', JSON.stringify(rsaKey(2048).export({ format: 'jwk' })))
  await peer.pushBlob(emptyLayer())
  const other = entryBy(signingKeyOf(ecKey('P-521')))
  const wrong: Entry = { ...validEntry, signature: other.signature.slice(0, 86) }
  const cases: [readonly Entry[], boolean][] = [
    [[validEntry], true],
    [[validEntry, other], true],
    [[{ ...validEntry, header: { alg: 'ES256', x5c: [certified.x5c] }, signature: certified.signature }], true],
    [[{ ...validEntry, header: { alg: 'ES256', x5c: [certified.x5c] } }], false],
    [[wrong], false],
    [[validEntry, wrong], false],
    [[{ ...validEntry, header: { ...validEntry.header, alg: 'ES384' } }], false],
    [[], false],
  ]
  for (const [entries, isTaken] of cases) {
    const document = documentWith(entries)
    const response = await peer.putManifest(tag, document, mediaTypes.dockerSchema1Signed)
    const words = await response.text()
    assert.equal(response.ok, isTaken, words)
    if (isTaken) assert.equal(parseSignedManifest(document).payload.toString(), payload.toString())
    else assert.throws(() => parseSignedManifest(document))
  }
})

/** A document but for what is another each time it is signed. */
function withoutSigning(document: Buffer): string {
  return document.toString().replace(/"(signature|protected)": "[\w-]+"/g, '"$1": "…"')
}

function resigned(canonical: Buffer, key: SigningKey): string {
  return withoutSigning(signManifest(canonical, key, new Date()))
}

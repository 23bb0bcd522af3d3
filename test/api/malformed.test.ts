// Requests as nobody should send them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { Agent, request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { api } from '../../src/api/api.ts'
import { manifestRules } from '../../src/api/manifest-rules.ts'
import { collect } from '../../src/bytes/stream.ts'
import { streamOf } from '../support/stream-of.ts'
import type { Handler, Reply } from '../../src/http/exchange.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { generateSigningKey } from '../../src/schema1/signing-key.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { basic, pushImage, startGuarded } from '../auth/fixture.ts'
import { issuer, keySet, minted, service } from '../auth/tokens.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { saidTo } from '../support/raw-client.ts'
import { randomDigest, randomName, strange } from '../support/random-names.ts'
import { mutated, property, seeded, type Random } from '../support/seeded.ts'

const blob = Buffer.from('a blob of some bytes')
const config = { mediaType: mediaTypes.ociImageConfig, digest: digestOf(blob), size: blob.byteLength }
const manifest = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] }),
)

const blobDigest = digestOf(blob)
const manifestDigest = digestOf(manifest)
const types = Object.values(mediaTypes) as [string, ...string[]]

type Header = () => readonly [string, string]

interface Sent {
  readonly method: string
  readonly path: string
  readonly search: string
  readonly headers: Record<string, string>
  readonly body: Buffer
}

/** What is known of the server that is asked. */
interface Place {
  /** Where an upload that is under way goes on, once there is one. */
  session: string
  /** Credentials that are good, where it wants some. */
  readonly good: string | undefined
}

function somewhere(good?: string): Place {
  return { session: '/v2/a/blobs/uploads/x?_state=y', good }
}

function randomTarget(random: Random, { session }: Place): string {
  const name = random.oneIn(3) ? randomName(random) : 'a'
  const digest = random.oneIn(3) ? randomDigest(random) : random.pick([blobDigest, manifestDigest])
  return random.pick([
    '/',
    '/v2/',
    '/v2/_catalog',
    `/v2/${name}/tags/list`,
    `/v2/${name}/manifests/latest`,
    `/v2/${name}/manifests/${digest}`,
    `/v2/${name}/referrers/${digest}`,
    `/v2/${name}/blobs/${digest}`,
    `/v2/${name}/blobs/uploads/`,
    session,
    session,
  ])
}

function randomParameter(random: Random): string {
  if (random.oneIn(10)) return random.text(`${strange}&=;#%`, 0, 20)
  const key = random.pick([
    'n',
    'last',
    'digest',
    'mount',
    'from',
    'ns',
    'tag',
    '_state',
    'digest-algorithm',
    'artifactType',
  ])
  const value = random.oneIn(2)
    ? random.text(strange, 0, 20)
    : random.pick([
        '',
        '0',
        '3',
        '-1',
        '1e9',
        '99999999999999999999',
        '٣',
        'a',
        blobDigest,
        'sha512:beef',
        'sha256',
        'sha1',
      ])
  return `${key}=${encodeURIComponent(value)}`
}

function randomHeader(random: Random): readonly [string, string] {
  const range = `${random.int(30)}-${random.int(30)}`
  return random.pick([
    () => ['range', `bytes=${range}`],
    () => ['range', random.text('bytes=0123456789-, ', 0, 30)],
    () => ['content-range', range],
    () => ['content-range', random.text('bytes 0123456789-/*', 0, 20)],
    () => ['if-none-match', random.pick([blobDigest, manifestDigest, '*', '"', 'W/"x"'])],
    () => ['if-range', random.pick([`"${blobDigest}"`, 'x'])],
    () => ['content-type', random.pick(types)],
    () => ['content-type', random.text(';/=application"json ', 0, 20)],
    () => ['accept', random.pick(types)],
    () => ['accept', random.text('*/;q=0.,application', 0, 30)],
    () => ['x-forwarded-host', random.text('abc.:,[]/@ ', 0, 20)],
    () => ['x-forwarded-proto', random.text('https,', 0, 8)],
    () => ['transfer-encoding', 'chunked'],
    () => ['expect', random.pick(['100-continue', '100-continue, x', 'x'])],
  ] as [Header, ...Header[]])()
}

function randomBody(random: Random): Buffer {
  if (random.oneIn(2)) return random.pick([Buffer.alloc(0), blob, manifest, Buffer.from('{"schemaVersion":1}')])
  let text = manifest.toString()
  for (let changes = random.int(4); changes >= 0; changes--)
    text = mutated(random, text, '{}[]",:\\0123456789abcdef null\0é')
  return Buffer.from(text)
}

/** Mostly the good ones: what is behind them is to be reached, too. */
function randomCredentials(random: Random, good: string): Record<string, string> {
  if (random.oneIn(8)) return {}
  if (random.oneIn(2)) return { authorization: good }
  let authorization = random.oneIn(4) ? random.text('Basicer AQ=.-_,"\\', 0, 40) : good
  for (let changes = random.int(3); changes > 0; changes--) authorization = mutated(random, authorization, '.=-_A9 "')
  return { authorization }
}

function randomRequest(random: Random, place: Place): Sent {
  const method = random.pick([
    'GET',
    'GET',
    'HEAD',
    'PUT',
    'PUT',
    'POST',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'TRACE',
    'PURGE',
  ])
  const target = randomTarget(random, place)
  let [path = '', search = ''] = target.split('?')
  for (let changes = random.int(6) - 3; changes > 0; changes--) path = mutated(random, path, `${strange}////?`)
  const parameters = Array.from({ length: random.int(3) }, () => randomParameter(random))
  search = [search, ...parameters].filter((part) => part !== '').join('&')
  if (random.oneIn(8)) search = mutated(random, search, `${strange}&=%`)
  const chosen = Object.fromEntries(Array.from({ length: random.int(4) }, () => randomHeader(random)))
  const headers = place.good === undefined ? chosen : { ...chosen, ...randomCredentials(random, place.good) }
  return { method, path, search, headers, body: randomBody(random) }
}

function checkAnswer(sent: Sent, status: number, contentType: unknown, body: Buffer): void {
  try {
    assert.ok((status >= 200 && status < 300) || status === 304 || (status >= 400 && status < 500))
    if (status >= 400 && sent.method !== 'HEAD' && sent.path.startsWith('/v2')) checkEnvelope(contentType, body)
  } catch (cause) {
    const asked = JSON.stringify({ ...sent, body: sent.body.toString() })
    throw new Error(`${status} ${body.toString().slice(0, 300)} to ${asked}`, { cause })
  }
}

function checkEnvelope(contentType: unknown, body: Buffer): void {
  assert.equal(contentType, 'application/json')
  const document: unknown = JSON.parse(body.toString())
  assert.ok(typeof document === 'object' && document !== null && 'errors' in document)
  const { errors } = document
  assert.ok(Array.isArray(errors) && errors.length > 0)
  for (const error of errors as Record<string, unknown>[]) {
    assert.match(String(error['code']), /^[A-Z_]+$/)
    assert.ok(typeof error['message'] === 'string' && error['message'] !== '')
    assert.ok(Object.keys(error).every((key) => ['code', 'message', 'detail'].includes(key)))
  }
}

async function makeHandler(): Promise<Handler> {
  const descriptors = descriptorCache(openFactStore({ kind: 'memory' }, silentLogger))
  const driver = inMemoryDriver()
  const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: silentLogger })
  const repository = store.repository(parseRepositoryName('a'))
  await repository.blobs.put(blob)
  const { descriptor } = await repository.manifests.put(manifest)
  await repository.tags.put(parseTag('latest'), descriptor.digest)
  const indexes = { platforms: 'all', platformList: [] } as const
  return api(store, {
    prefix: '/',
    headers: {},
    externalUrl: undefined,
    relativeUrls: true,
    secret: 'a secret',
    readOnly: false,
    schema1: { enabled: true, key: generateSigningKey() },
    rules: manifestRules({ disabled: false, urls: { allow: [], deny: ['evil'] }, indexes }, { classes: [] }),
    catalog: { usual: 100, most: 1000 },
    tags: { usual: Infinity, most: 1000 },
  })
}

async function exchange(handler: Handler, sent: Sent): Promise<Reply> {
  const { method, path, search, headers, body } = sent
  const query = new URLSearchParams(search)
  const { signal } = new AbortController()
  const known = { method, path, target: path, query, headers, address: '', peer: '', host: headers['host'] }
  return await handler({ ...known, scheme: 'http', body: streamOf(body), signal, log: {} })
}

/** Servers with what they want of whoever comes, and how many requests each is sent: 20,000 in all. */
const servers: readonly (readonly [
  what: string,
  count: number,
  start: () => Promise<readonly [AppUnderTest, string?]>,
])[] = [
  ['an open server', 10_000, async () => [await startAppUnderTest(stored)]],
  ['passwords', 5_000, async () => [await startGuarded(['ci'], {}, stored), basic('ci', 'ci-password')]],
  ['tokens', 5_000, startWithTokens],
]

const stored = { storage: { inmemory: {}, delete: { enabled: true } }, log: { level: 'error' } }

async function startWithTokens(): Promise<readonly [AppUnderTest, string]> {
  await using folder = await temporaryFolder()
  const jwks = join(folder.path, 'keys.json')
  await writeFile(jwks, keySet())
  const realm = 'http://127.0.0.1:1/token'
  const app = await startAppUnderTest({ ...stored, auth: { token: { realm, service, issuer, jwks } } })
  const access = ['a', 'b'].map((name) => ({ type: 'repository', name, actions: ['pull', 'push', 'delete'] }))
  return [app, `Bearer ${minted({ access: [...access, { type: 'registry', name: 'catalog', actions: ['*'] }] })}`]
}

suite('malformed requests', async () => {
  const handler = await makeHandler()
  const place = somewhere()

  property(
    'T-70: each is answered, never as our fault, and with an envelope that says what is wrong',
    async (random) => {
      const sent = randomRequest(random, place)
      const reply = await exchange(handler, sent)
      const body = reply.body === undefined ? Buffer.alloc(0) : await collect(toStream(reply.body), 1_000_000)
      checkAnswer(sent, reply.status, reply.headers['content-type'], body)
      follow(place, reply.headers['location'])
    },
  )

  for (const [what, count, start] of servers) {
    test(`T-70: the same holds over a socket, whatever the connection has seen before: ${what}`, async () => {
      const [started, good] = await start()
      await using app = started
      using agent = new ClosingAgent()
      const there = somewhere(good)
      const statuses = new Set<number>()
      const first = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
      const seeds = Array.from({ length: count }, (_, nth) => first + nth).values()
      const worker = async (): Promise<void> => {
        for (const seed of seeds) {
          if (seed % 500 === 0) await pushed(app.url, good)
          try {
            statuses.add(await sendOver(app.url, agent, seeded(seed), there))
          } catch (cause) {
            throw new Error(`SEED=${seed}: ${String(cause)}`, { cause })
          }
        }
      }
      await Promise.all(Array.from({ length: 8 }, worker))
      for (const status of [200, 202, 204, 400, 404, 405, 417]) assert.ok(statuses.has(status), `none was ${status}`)
      assert.equal(statuses.has(401), good !== undefined)
      const errors = app.lines.filter(({ level }) => level === 'error')
      assert.deepEqual(errors, [])
      assert.equal((await fetch(`${app.url}/v2/`)).status, good === undefined ? 200 : 401)
    })
  }

  test('T-70: bytes that are no HTTP are refused, and the next client is served', async () => {
    const limits = { headertime: '1s', idle: '1s', keepalive: '1s' }
    await using app = await startAppUnderTest({ http: { addr: '127.0.0.1:0', draintimeout: '0s', limits } })
    const random = seeded(Math.floor(Math.random() * 2 ** 31))
    const sent = Array.from({ length: 100 }, () => mutated(random, garbage(random), '\0\r\n :/'))
    const answers = await Promise.all(sent.map(async (bytes) => [bytes, await saidTo(app.url, bytes)] as const))
    for (const [bytes, said] of answers) assert.match(said, /^(?:$|HTTP\/1\.1 [24]\d\d )/, JSON.stringify(bytes))
    assert.equal((await fetch(`${app.url}/v2/`)).status, 200)
  })
})

/** What requests have deleted is there again; those that come between may undo it at once. */
async function pushed(url: string, good = ''): Promise<void> {
  await pushImage(url, 'a', 'latest', good).catch((error: unknown) => assert.match(String(error), /manifest: 400$/))
}

function follow(place: Place, location: unknown): void {
  if (typeof location === 'string' && location.includes('/uploads/')) place.session = location
}

async function* toStream(body: NonNullable<Reply['body']>): AsyncGenerator<Uint8Array, void> {
  if (body instanceof Uint8Array) yield body
  else yield* body
}

class ClosingAgent extends Agent implements Disposable {
  constructor() {
    super({ keepAlive: true })
  }

  [Symbol.dispose](): void {
    this.destroy()
  }
}

/** As far as a client can send it; resolves with the status. */
async function sendOver(url: string, agent: Agent, random: Random, place: Place): Promise<number> {
  const sent = randomRequest(random, place)
  const target = `${sent.path.replaceAll('?', '')}?${sent.search}`.toWellFormed()
  const path = encodeURI(target.startsWith('/') ? target : `/${target}`)
  const headers = Object.fromEntries(
    Object.entries(sent.headers).map(([name, value]) => [name, value.replace(/[^ -~]/g, '~')]),
  )
  if (!('transfer-encoding' in headers)) headers['content-length'] = String(sent.body.byteLength)
  const outgoing = request(url + path, { agent, method: sent.method, headers })
  outgoing.end(sent.body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  outgoing.on('error', () => {}) // of a body that nobody wants any more; an answer that breaks off fails below
  const body = await collect(response, 1_000_000)
  checkAnswer({ ...sent, path }, response.statusCode ?? 0, response.headers['content-type'], body)
  const { location } = response.headers
  if (location !== undefined) follow(place, new URL(location, url).href.slice(url.length))
  return response.statusCode ?? 0
}

function garbage(random: Random): string {
  return random.pick([
    random.text(strange, 0, 200),
    `GET /v2/ HTTP/1.1\r\nhost: a\r\ncontent-length: ${random.text('-0123456789ax', 0, 5)}\r\nconnection: close\r\n\r\n`,
    `PUT /v2/a/manifests/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${random.text('0123456789abcdef\r\n;', 0, 50)}`,
    `GET ${random.text(strange, 0, 30)} HTTP/1.1\r\nhost: a\r\n\r\n`,
    `GET /v2/ HTTP/${random.text('0123456789.', 0, 4)}\r\n\r\n`,
    `GET /v2/ HTTP/1.1\r\n${random.text(`${strange}\r\n`, 0, 60)}\r\n\r\n`,
  ])
}

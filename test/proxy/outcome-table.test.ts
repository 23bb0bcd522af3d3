// What a client hears, for each way in which an upstream fails and each thing that may or may not be here.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import type { Upstream } from '../../src/proxy/selection.ts'
import { fixedCredentials } from '../../src/upstream/credentials.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Fault, type Origin } from '../support/origin.ts'
import { startProxyUnderTest, type ProxyUnderTest } from '../support/proxy-under-test.ts'

/**
 * A cell: the status, the code of the error or «stale» where the answer has a Warning, and how often the upstream is
 * asked. The first four columns are of what is here, the last three of what is not.
 */
const table = `
upstream           | fresh tag | stale tag               | manifest | blob   | no tag                  | no manifest             | no blob
-------------------|-----------|-------------------------|----------|--------|-------------------------|-------------------------|-----------------------
refuses to connect | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1
has no address     | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1
never answers      | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 504 UNAVAILABLE x1      | 504 UNAVAILABLE x1      | 504 UNAVAILABLE x1
500                | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x2
503                | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x2
200 with HTML      | 200 x0    | 200 stale x2            | 200 x0   | 200 x0 | 502 UNAVAILABLE x2      | 502 UNAVAILABLE x1      | 502 UNAVAILABLE x1
429                | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 429 TOOMANYREQUESTS x1  | 429 TOOMANYREQUESTS x1  | 429 TOOMANYREQUESTS x1
401                | 200 x0    | 200 stale x2            | 200 x0   | 200 x0 | 403 DENIED x2           | 403 DENIED x2           | 403 DENIED x2
401, denied        | 200 x0    | 403 DENIED x2           | 200 x0   | 200 x0 | 403 DENIED x2           | 403 DENIED x2           | 403 DENIED x2
401 to our name    | 200 x0    | 200 stale x2            | 200 x0   | 200 x0 | 502 UNAVAILABLE x2      | 502 UNAVAILABLE x2      | 502 UNAVAILABLE x2
403                | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 403 DENIED x1           | 403 DENIED x1           | 403 DENIED x1
403, denied        | 200 x0    | 403 DENIED x1           | 200 x0   | 200 x0 | 403 DENIED x1           | 403 DENIED x1           | 403 DENIED x1
404                | 200 x0    | 200 stale x1            | 200 x0   | 200 x0 | 404 MANIFEST_UNKNOWN x1 | 404 MANIFEST_UNKNOWN x1 | 404 BLOB_UNKNOWN x1
404, forgotten     | 200 x0    | 404 MANIFEST_UNKNOWN x2 | 200 x0   | 200 x0 | 404 MANIFEST_UNKNOWN x1 | 404 MANIFEST_UNKNOWN x1 | 404 BLOB_UNKNOWN x1
`

interface Trouble {
  readonly begin: (origin: Origin, app: ProxyUnderTest) => void | Promise<void>
  /** What the Warning says of it, after the host. */
  readonly because: RegExp
  readonly upstream?: Partial<Upstream>
  /** It never sees that it is asked: what is counted is how often we tried. */
  readonly isAway?: boolean
}

function answers(status: number, headers: Record<string, string> = {}, body = ''): Trouble['begin'] {
  const fault: Fault = { reply: { status, headers, body: Buffer.from(body) } }
  return (origin) => {
    origin.dial = () => fault
  }
}

const deny = { onDenied: 'deny' } as const
const troubles: Readonly<Record<string, Trouble>> = {
  'refuses to connect': {
    begin: async (origin) => await origin.stop(),
    because: /cannot be reached \(ECONNREFUSED\)/,
    isAway: true,
  },
  'has no address': {
    async begin(origin, app) {
      app.isNameKnown = false
      await origin.stop() // its connections are kept otherwise
    },
    because: /cannot be reached \(ENOTFOUND\)/,
    isAway: true,
  },
  'never answers': {
    begin(origin) {
      origin.dial = () => ({ wait: new Promise(() => {}) })
    },
    because: /sent nothing for too long|did not answer in time/,
  },
  '500': { begin: answers(500), because: /answered 500/ },
  '503': { begin: answers(503), because: /answered 503/ },
  '200 with HTML': { begin: answers(200, { 'content-type': 'text/html' }, '<html>pay</html>'), because: /no manifest/ },
  '429': { begin: answers(429, { 'retry-after': '17' }), because: /answered 429/ },
  '401': { begin: answers(401), because: /answered 401/ },
  '401, denied': { begin: answers(401), because: /answered 401/, upstream: deny },
  '401 to our name': {
    begin: answers(401, { 'www-authenticate': 'Basic realm="origin"' }),
    because: /does not accept the credentials/,
    upstream: deny,
  },
  '403': { begin: answers(403), because: /answered 403/ },
  '403, denied': { begin: answers(403), because: /answered 403/, upstream: deny },
  '404': { begin: answers(404), because: /does not have it any more/ },
  '404, forgotten': { begin: answers(404), because: /does not have it any more/, upstream: { onGone: 'forget' } },
}

interface Content {
  readonly manifest: Digest
  readonly blob: Digest
}

interface Column {
  /** What is asked for, of the repository. */
  readonly path: (content: Content) => string
  readonly isHere: boolean
  /** Of tags; 0 without it. */
  readonly freshness?: number
}

const columns: Readonly<Record<string, Column>> = {
  'fresh tag': { path: () => 'manifests/v1', isHere: true, freshness: 60_000 },
  'stale tag': { path: () => 'manifests/v1', isHere: true },
  manifest: { path: ({ manifest }) => `manifests/${manifest}`, isHere: true },
  blob: { path: ({ blob }) => `blobs/${blob}`, isHere: true },
  'no tag': { path: () => 'manifests/v1', isHere: false },
  'no manifest': { path: ({ manifest }) => `manifests/${manifest}`, isHere: false },
  'no blob': { path: ({ blob }) => `blobs/${blob}`, isHere: false },
}

async function check(trouble: Trouble, column: string, cell: string): Promise<void> {
  const { path, isHere, freshness = 0 } = columns[column] ?? assert.fail(column)
  await using origin = await startOrigin()
  await using app = await startProxyUnderTest(origin, {
    upstream: { freshness, ...trouble.upstream },
    credentials: fixedCredentials({ kind: 'password', username: 'us', password: 'canary-7d1' }),
    firstByte: 500,
  })
  const { manifest, layers } = await origin.addImage('app', 'v1', [randomBlob(500).bytes])
  const content = { manifest, blob: layers[0] ?? assert.fail('no layer') }
  if (isHere) {
    for (const each of ['manifests/v1', `blobs/${content.blob}`]) await pull(`${app.url}/v2/app/${each}`)
  }
  await trouble.begin(origin, app)
  origin.seen.length = 0
  const lookups = app.lookups()

  const answer = await ask(`${app.url}/v2/app/${path(content)}`)
  const { warning } = answer.headers
  const questions = trouble.isAway === true ? app.lookups() - lookups : origin.seen.length
  const heard = [answer.status, warning === undefined ? answer.codes[0] : 'stale', `x${questions}`]
  assert.equal(heard.filter((part) => part !== undefined).join(' '), cell, answer.body.toString())

  if (warning !== undefined) {
    assert.match(warning, /^299 - "served from cache, may be out of date: origin\.test:\d+ /)
    assert.match(warning, trouble.because)
  }
  assert.equal(app.proxy.counts().staleAnswers.get('up'), warning === undefined ? 0 : 1)
  if (answer.status >= 400) {
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(answer.headers['www-authenticate'], undefined)
    assert.equal(answer.headers['retry-after'], answer.status === 429 ? '17' : undefined)
    if (answer.status !== 404) assert.match(answer.body.toString(), /origin\.test/)
  }
  assert.doesNotMatch(app.text() + answer.body.toString(), /canary-7d1/)
}

const [head = '', , ...rows] = table.trim().split('\n')
const names = head.split('|').map((name) => name.trim())
for (const row of rows) {
  const [trouble = '', ...cells] = row.split('|').map((cell) => cell.trim())
  suite(`P3, P10: upstream ${trouble}`, () => {
    for (const [index, cell] of cells.entries()) {
      const column = names[index + 1] ?? ''
      test(`${column}: ${cell}`, async () => await check(troubles[trouble] ?? assert.fail(trouble), column, cell))
    }
  })
}

test('stale answers are counted, said once a minute, and summed up at the end', async () => {
  await using origin = await startOrigin()
  await origin.addImage('app', 'v1', [])
  const app = await startProxyUnderTest(origin)
  {
    await using _ = app
    await pull(`${app.url}/v2/app/manifests/v1`)
    await origin.stop()
    for (const minute of [0, 60_000]) {
      app.pass(minute)
      for (let client = 0; client < 5; client++) await pull(`${app.url}/v2/app/manifests/v1`)
    }
  }
  const said = app.lines.filter(({ msg }) => msg === 'stale answer').map(({ level }) => level)
  assert.deepEqual(
    said,
    [0, 60_000].flatMap(() => ['warn', 'debug', 'debug', 'debug', 'debug']),
  )
  assert.deepEqual([...app.proxy.counts().staleAnswers], [['up', 10]])
  const summaries = app.lines.filter(({ msg }) => msg === 'stale answers served')
  assert.deepEqual(
    summaries.map(({ level, byUpstream }) => ({ level, byUpstream })),
    [{ level: 'info', byUpstream: { up: 10 } }],
  )
})

// Tags and manifests through the whole server, against a real origin behind a fault dial; the outcome table.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Fault, type Image, type Origin } from '../support/origin.ts'
import { startProxyUnderTest, until } from '../support/proxy-under-test.ts'

async function mirror(origin: Pick<Origin, 'url'>, proxy: Record<string, unknown> = {}): Promise<AppUnderTest> {
  const timeouts = { connect: '2s', firstbyte: '300ms', idle: '300ms' }
  return await startAppUnderTest({
    proxy: { upstreams: { up: { url: origin.url, default: true } }, freshness: '0s', timeouts, ...proxy },
  })
}

/** Pulls as containerd does: the tag by HEAD, then everything by digest. */
async function pullImage(url: string, name: string, tag: string, image: Image): Promise<void> {
  const head = await ask(`${url}/v2/${name}/manifests/${tag}`, { method: 'HEAD' })
  assert.equal(head.status, 200)
  assert.equal(head.headers['docker-content-digest'], image.manifest)
  assert.equal(head.headers['content-type'], mediaTypes.ociManifest)
  const manifest = await pull(`${url}/v2/${name}/manifests/${image.manifest}`)
  assert.equal(manifest.digest, image.manifest)
  for (const digest of [image.config, ...image.layers]) {
    assert.equal((await pull(`${url}/v2/${name}/blobs/${digest}`)).digest, digest)
  }
}

/** Every way an upstream answers wrongly, and what a client hears who asks for something that is not here. */
const troubles: readonly (readonly [string, Fault, number, string])[] = [
  ['404', { reply: { status: 404, headers: {} } }, 404, 'MANIFEST_UNKNOWN'],
  ['401 without a challenge', { reply: { status: 401, headers: {} } }, 403, 'DENIED'],
  ['403', { reply: { status: 403, headers: {} } }, 403, 'DENIED'],
  ['429', { reply: { status: 429, headers: { 'retry-after': '17' } } }, 429, 'TOOMANYREQUESTS'],
  ['500', { reply: { status: 500, headers: {} } }, 502, 'UNAVAILABLE'],
  ['503', { reply: { status: 503, headers: {} } }, 502, 'UNAVAILABLE'],
  ['silence', { wait: new Promise(() => {}) }, 504, 'UNAVAILABLE'],
  [
    'a captive portal',
    { reply: { status: 200, headers: { 'content-type': 'text/html' }, body: Buffer.from('<html>pay here</html>') } },
    502,
    'UNAVAILABLE',
  ],
  [
    'an error with status 200',
    { reply: { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{"errors":[]}') } },
    502,
    'UNAVAILABLE',
  ],
]

test('P3: an image that was pulled once is pulled again when the upstream is gone', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('org/app', 'v1', [randomBlob(300_000).bytes, randomBlob(10).bytes])
  await using app = await mirror(origin)
  await pullImage(app.url, 'org/app', 'v1', image)
  await origin.stop()
  await pullImage(app.url, 'org/app', 'v1', image)
  const stale = await ask(`${app.url}/v2/org/app/manifests/v1`)
  assert.match(stale.headers.warning ?? '', /^299 - ".+"$/)
  assert.ok(app.lines.some((line) => line['msg'] === 'stale answer'))
})

test('P3: content by digest is served without asking anyone', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [randomBlob(1000).bytes])
  await using app = await mirror(origin)
  await pullImage(app.url, 'app', 'v1', image)
  origin.seen.length = 0
  for (const path of [`manifests/${image.manifest}`, `blobs/${image.config}`, `blobs/${image.layers[0]}`]) {
    const answer = await ask(`${app.url}/v2/app/${path}`)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.warning, undefined)
  }
  assert.deepEqual(origin.seen, [])
  assert.equal(app.lines.at(-1)?.['from'], 'local')
})

test('a fresh tag is served without asking; a stale one costs one HEAD, and a GET only where it has moved', async () => {
  await using origin = await startOrigin()
  const first = await origin.addImage('app', 'v1', [])
  const tag = '/v2/app/manifests/v1'
  await using fresh = await mirror(origin, { freshness: '1h' })
  await using always = await mirror(origin)
  for (const app of [fresh, always]) assert.equal((await pull(app.url + tag)).digest, first.manifest)
  origin.seen.length = 0
  const second = await origin.addImage('app', 'v1', [])
  assert.equal((await pull(fresh.url + tag)).digest, first.manifest)
  assert.deepEqual(origin.seen, [])
  assert.equal((await pull(always.url + tag)).digest, second.manifest)
  assert.deepEqual(origin.seen, [`HEAD ${tag}`, `GET /v2/app/manifests/${second.manifest}`])
  origin.seen.length = 0
  assert.equal((await pull(always.url + tag)).digest, second.manifest)
  assert.deepEqual(origin.seen, [`HEAD ${tag}`])
})

test('T-03, P4: 300 clients on one cold tag make one HEAD and one GET', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  await using app = await mirror(origin, { freshness: '1m' })
  const answers = await Promise.all(Array.from({ length: 300 }, () => pull(`${app.url}/v2/app/manifests/v1`)))
  assert.deepEqual(new Set(answers.map(({ digest }) => digest)), new Set([image.manifest]))
  assert.deepEqual(origin.seen, ['HEAD /v2/app/manifests/v1', `GET /v2/app/manifests/${image.manifest}`])
})

for (const [what, hasHead, asked] of [
  ['one HEAD', true, ['HEAD']],
  ['one GET where the upstream knows no HEAD', false, ['HEAD', 'GET']],
] as const) {
  test(`P4: 100 clients that ask by HEAD for one manifest that is not here make ${what}`, async () => {
    await using origin = await startOrigin()
    const { manifest } = await origin.addImage('app', 'v1', [])
    const gate = deferred()
    origin.dial = ({ method }) => {
      if (method !== 'HEAD') return undefined
      return hasHead ? { wait: gate.promise } : { wait: gate.promise, reply: { status: 405, headers: {} } }
    }
    await using app = await startProxyUnderTest(origin)
    const { manifests } = app.proxy.repository(parseRepositoryName('up/app'))
    const found = Promise.all(Array.from({ length: 100 }, async () => await manifests.stat(manifest)))
    await until(() => origin.seen.length > 0) // all of them have asked before this one could be heard
    gate.resolve()
    for (const { digest } of await found) assert.equal(digest, manifest)
    const path = `/v2/app/manifests/${manifest}`
    assert.deepEqual(
      origin.seen,
      asked.map((method) => `${method} ${path}`),
    )
  })
}

test('an upstream whose HEAD does not name a digest is asked by GET', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  origin.dial = ({ method }) => (method === 'HEAD' ? { reply: { status: 405, headers: {} } } : undefined)
  await using app = await mirror(origin)
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).digest, image.manifest)
  assert.deepEqual(origin.seen, ['HEAD /v2/app/manifests/v1', 'GET /v2/app/manifests/v1'])
})

for (const [trouble, fault, status, code] of troubles) {
  test(`P10: ${trouble} from the upstream is ${status} ${code} for what is not here`, async () => {
    await using origin = await startOrigin()
    origin.dial = () => fault
    await using app = await mirror(origin)
    const digest = digestOf('never seen')
    for (const reference of ['v1', digest]) {
      const answer = await ask(`${app.url}/v2/app/manifests/${reference}`)
      assert.equal(answer.status, status, `${reference}: ${answer.body.toString()}`)
      assert.deepEqual(answer.codes, [code])
      assert.equal(answer.headers['content-type'], 'application/json')
      if (status === 429) assert.equal(answer.headers['retry-after'], '17')
      assert.equal(answer.headers['www-authenticate'], undefined)
    }
    if (!trouble.startsWith('a')) {
      const blob = await ask(`${app.url}/v2/app/blobs/${digest}`)
      assert.equal(blob.status, status)
      assert.deepEqual(blob.codes, [code.replace('MANIFEST', 'BLOB')])
    }
  })

  test(`P3: ${trouble} from the upstream leaves what is here served`, async () => {
    await using origin = await startOrigin()
    const image = await origin.addImage('app', 'v1', [randomBlob(500).bytes])
    await using app = await mirror(origin)
    await pullImage(app.url, 'app', 'v1', image)
    origin.dial = () => fault
    await pullImage(app.url, 'app', 'v1', image)
    const stale = await ask(`${app.url}/v2/app/manifests/v1`)
    assert.equal(stale.status, 200)
    assert.match(stale.headers.warning ?? '', /^299 - /)
  })
}

test('P1: a manifest that does not match its digest is refused, and nothing of it is kept', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  const other = await origin.addImage('app', 'v2', [])
  const { bytes } = await origin.repository('app').manifests.get(other.manifest)
  origin.dial = ({ method, path }) =>
    method === 'GET' && path.endsWith(image.manifest)
      ? { reply: { status: 200, headers: { 'content-type': mediaTypes.ociManifest }, body: bytes } }
      : undefined
  await using app = await mirror(origin)
  for (const reference of [image.manifest, 'v1']) {
    const answer = await ask(`${app.url}/v2/app/manifests/${reference}`)
    assert.equal(answer.status, 502)
    assert.deepEqual(answer.codes, ['UNAVAILABLE'])
  }
  origin.dial = () => undefined
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).digest, image.manifest)
})

test('T-22: a manifest larger than 4 MiB is refused before it fills memory', async () => {
  await using origin = await startOrigin()
  origin.dial = ({ method }) =>
    method === 'GET'
      ? {
          reply: {
            status: 200,
            headers: { 'content-type': mediaTypes.ociManifest },
            body: Buffer.alloc(5_000_000, ' '),
          },
        }
      : undefined
  await using app = await mirror(origin)
  assert.equal((await ask(`${app.url}/v2/app/manifests/${digestOf('x')}`)).status, 502)
})

test('P9: it starts while the upstream cannot be reached, and serves when it can', async () => {
  const placeholder = createServer().listen(0, '127.0.0.1')
  await once(placeholder, 'listening')
  const address = placeholder.address()
  assert.ok(typeof address === 'object' && address !== null)
  placeholder.close()
  await once(placeholder, 'close')
  await using app = await mirror({ url: `http://127.0.0.1:${address.port}` })
  assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  const answer = await ask(`${app.url}/v2/app/manifests/v1`)
  assert.equal(answer.status, 502)
  assert.deepEqual(answer.codes, ['UNAVAILABLE'])
})

test('offline, what is here is served and nobody is asked', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [randomBlob(500).bytes])
  const storage = { filesystem: { rootdirectory: folder.path } }
  const upstreams = { up: { url: origin.url, default: true } }
  {
    await using app = await startAppUnderTest({ storage, proxy: { upstreams } })
    await pullImage(app.url, 'app', 'v1', image)
  }
  origin.seen.length = 0
  await using app = await startAppUnderTest({ storage, proxy: { upstreams, offline: true } })
  await pullImage(app.url, 'app', 'v1', image)
  assert.equal((await ask(`${app.url}/v2/app/manifests/v1`)).headers.warning, undefined)
  assert.deepEqual((await ask(`${app.url}/v2/app/manifests/v2`)).codes, ['MANIFEST_UNKNOWN'])
  assert.deepEqual((await ask(`${app.url}/v2/app/blobs/${digestOf('x')}`)).codes, ['BLOB_UNKNOWN'])
  assert.equal((await ask(`${app.url}/v2/app/tags/list`)).status, 200)
  assert.deepEqual(origin.seen, [])
})

test('T-66, P8: two upstreams never mix, and ns chooses between them without being dialled', async () => {
  await using one = await startOrigin()
  await using two = await startOrigin()
  const first = await one.addImage('app', 'v1', [])
  const second = await two.addImage('app', 'v1', [])
  await using app = await startAppUnderTest({
    proxy: { upstreams: { 'one.test': { url: one.url, default: true }, 'two.test': { url: two.url } } },
  })
  const cases: [string, string][] = [
    ['app/manifests/v1', first.manifest],
    ['app/manifests/v1?ns=one.test', first.manifest],
    ['app/manifests/v1?ns=two.test', second.manifest],
    ['two.test/app/manifests/v1', second.manifest],
    ['one.test/app/manifests/v1', first.manifest],
  ]
  for (const [path, digest] of cases) assert.equal((await pull(`${app.url}/v2/${path}`)).digest, digest, path)
  assert.equal((await ask(`${app.url}/v2/app/manifests/${second.manifest}?ns=one.test`)).status, 404)
  one.seen.length = two.seen.length = 0
  for (const query of ['ns=127.0.0.1', 'ns=one.test&ns=two.test', `ns=${new URL(two.url).host}`]) {
    const answer = await ask(`${app.url}/v2/app/manifests/v1?${query}`)
    assert.equal(answer.status, 404, query)
    assert.deepEqual(answer.codes, ['NAME_UNKNOWN'])
  }
  assert.deepEqual([...one.seen, ...two.seen], [])
})

test('with remoteurl, ns may name that registry, as containerd does, and no other', async () => {
  await using origin = await startOrigin()
  const { manifest } = await origin.addImage('app', 'v1', [])
  await using app = await startAppUnderTest({ proxy: { remoteurl: origin.url } })
  const { host } = new URL(origin.url)
  for (const query of ['', `?ns=${host}`, `?ns=${host.toUpperCase()}`]) {
    assert.equal((await pull(`${app.url}/v2/app/manifests/v1${query}`)).digest, manifest, query)
  }
  assert.deepEqual((await ask(`${app.url}/v2/app/manifests/v1?ns=other.test`)).codes, ['NAME_UNKNOWN'])
})

test('tags are listed as the upstream has them, else as they are here', async () => {
  await using origin = await startOrigin()
  for (const tag of ['v1', 'v2', 'v10']) await origin.addImage('app', tag, [])
  await using app = await mirror(origin)
  await pull(`${app.url}/v2/app/manifests/v2`)
  const list = async (query = ''): Promise<unknown> =>
    JSON.parse((await ask(`${app.url}/v2/app/tags/list${query}`)).body.toString())
  assert.deepEqual(await list(), { name: 'app', tags: ['v1', 'v10', 'v2'] })
  const page = await ask(`${app.url}/v2/app/tags/list?n=1&last=v1`)
  assert.deepEqual(JSON.parse(page.body.toString()), { name: 'app', tags: ['v10'] })
  assert.equal(page.headers['link'], '</v2/app/tags/list?last=v10&n=1>; rel="next"')
  await origin.stop()
  assert.deepEqual(await list(), { name: 'app', tags: ['v2'] })
  assert.match((await ask(`${app.url}/v2/app/tags/list?n=1`)).headers.warning ?? '', /^299 - /)
  assert.equal((await ask(`${app.url}/v2/other/tags/list`)).status, 502)
})

test('the catalog lists what is here, by the names it can be pulled by', async () => {
  await using origin = await startOrigin()
  for (const name of ['b/app', 'a']) await origin.addImage(name, 'v1', [])
  await using app = await mirror(origin)
  for (const name of ['b/app', 'a']) await pull(`${app.url}/v2/${name}/manifests/v1`)
  const answer = await ask(`${app.url}/v2/_catalog`)
  assert.deepEqual(JSON.parse(answer.body.toString()), { repositories: ['up/a', 'up/b/app'] })
  const page = await ask(`${app.url}/v2/_catalog?n=1`)
  assert.equal(page.headers['link'], '</v2/_catalog?last=up%2Fa&n=1>; rel="next"')
  assert.deepEqual((await ask(`${app.url}/v2/_catalog?n=-1`)).codes, ['PAGINATION_NUMBER_INVALID'])
})

test('writing to a copy is refused in the envelope', async () => {
  await using origin = await startOrigin()
  await using app = await mirror(origin)
  const paths = [`manifests/v1`, `blobs/${digestOf('x')}`, 'blobs/uploads/', 'tags/list']
  for (const path of paths) {
    for (const method of ['PUT', 'POST', 'PATCH', 'DELETE']) {
      const answer = await ask(`${app.url}/v2/app/${path}`, { method })
      assert.equal(answer.status, 405, `${method} ${path}`)
      assert.deepEqual(answer.codes, ['UNSUPPORTED'])
    }
  }
})

test('conditional requests and the headers that clients rely on', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [randomBlob(100).bytes])
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app`
  for (const path of ['manifests/v1', `manifests/${image.manifest}`, `blobs/${image.config}`]) {
    const whole = await ask(`${url}/${path}`)
    const head = await ask(`${url}/${path}`, { method: 'HEAD' })
    const digest = digestOf(whole.body)
    for (const answer of [whole, head]) {
      assert.equal(answer.status, 200)
      assert.equal(answer.headers.etag, `"${digest}"`)
      assert.equal(answer.headers['docker-content-digest'], digest)
      assert.equal(answer.headers['content-length'], String(whole.body.length))
      assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0')
    }
    assert.equal(head.headers['content-type'], whole.headers['content-type'])
    for (const method of ['GET', 'HEAD']) {
      const unchanged = await ask(`${url}/${path}`, { method, headers: { 'if-none-match': `"${digest}"` } })
      assert.equal(unchanged.status, 304, path)
      assert.equal(unchanged.body.length, 0)
    }
  }
  const layer = image.layers[0] ?? ''
  const ranged = await ask(`${url}/blobs/${layer}`, { headers: { range: 'bytes=0-9', 'if-range': `"${layer}"` } })
  assert.equal(ranged.status, 206)
  const changed = await ask(`${url}/blobs/${layer}`, { headers: { range: 'bytes=0-9', 'if-range': '"other"' } })
  assert.equal(changed.status, 200)
})

test('a cached image that is deleted is gone here, and the next pull brings it back', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [randomBlob(500).bytes])
  await using app = await startAppUnderTest({
    storage: { inmemory: {}, delete: { enabled: true } },
    proxy: { upstreams: { up: { url: origin.url, default: true } } },
  })
  await pullImage(app.url, 'app', 'v1', image)
  for (const path of [`manifests/${image.manifest}`, `blobs/${image.layers[0]}`]) {
    assert.equal((await ask(`${app.url}/v2/app/${path}`, { method: 'DELETE' })).status, 202, path)
  }
  origin.seen.length = 0
  await pullImage(app.url, 'app', 'v1', image)
  assert.deepEqual(origin.seen, ['HEAD /v2/app/manifests/v1', `GET /v2/app/manifests/${image.manifest}`])
})

test('http.headers are on every answer, errors too', async () => {
  await using app = await startAppUnderTest({
    http: { addr: '127.0.0.1:0', headers: { 'X-Content-Type-Options': ['nosniff'] } },
  })
  for (const path of ['/v2/', '/v2/app/manifests/v1', '/nowhere']) {
    assert.equal((await ask(app.url + path)).headers['x-content-type-options'], 'nosniff', path)
  }
})

test('a document that is typed by its Content-Type alone is pulled like any other', async () => {
  await using origin = await startOrigin()
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, blobs: [] }))
  const digest = digestOf(bytes)
  const headers = { 'content-type': mediaTypes.ociArtifactManifest }
  origin.dial = () => ({ reply: { status: 200, headers, body: bytes } })
  await using app = await mirror(origin)
  for (let round = 0; round < 2; round += 1) {
    const answer = await ask(`${app.url}/v2/app/manifests/${digest}`)
    assert.equal(answer.status, 200, `round ${round}`)
  }
})

test('a mount from a repository whose upstream fails is an ordinary upload', async () => {
  await using origin = await startOrigin()
  await using app = await mirror(origin, { hosted: ['local/**'] })
  await origin.stop()
  const query = `mount=${digestOf('x')}&from=app`
  const answer = await ask(`${app.url}/v2/local/app/blobs/uploads/?${query}`, { method: 'POST' })
  assert.equal(answer.status, 202)
})

test('a Warning is a header whatever the upstream calls its trouble', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  await using app = await mirror(origin)
  await pullImage(app.url, 'app', 'v1', image)
  const body = Buffer.from(JSON.stringify({ errors: [{ code: 'SCHLECHT\u00e4\n"\\\u2028', message: '\u{1f4a5}' }] }))
  origin.dial = () => ({ reply: { status: 500, headers: { 'content-type': 'application/json' }, body } })
  const stale = await ask(`${app.url}/v2/app/manifests/v1`)
  assert.equal(stale.status, 200)
  assert.match(stale.headers.warning ?? '', /^299 - "[^"\\]+"$/)
})

test('P3: a storage that cannot be written costs the copy of a manifest, not the answer', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  const storage = { filesystem: { rootdirectory: folder.path } }
  await writeFile(join(folder.path, 'docker'), 'a file where the tree should be')
  await using app = await startAppUnderTest({
    storage,
    proxy: { upstreams: { up: { url: origin.url, default: true } } },
  })
  for (const reference of ['v1', image.manifest]) {
    assert.equal((await pull(`${app.url}/v2/app/manifests/${reference}`)).digest, image.manifest, reference)
  }
  assert.ok(app.lines.some((line) => String(line['msg']).startsWith('storage fails')))
})

test('P3: the longest timeouts, and those with a part of a millisecond, let every pull through', async () => {
  for (const timeouts of [
    { connect: '8d', firstbyte: '8d', idle: '8d' },
    { connect: '2000.5ms', firstbyte: '2s500us', idle: '2.0001s' },
  ]) {
    await using origin = await startOrigin()
    const layer = randomBlob(200_000)
    const image = await origin.addImage('team/app', 'v1', [layer.bytes])
    await using app = await mirror(origin, { timeouts })
    await pullImage(app.url, 'up/team/app', 'v1', image)
    const { status, body } = await ask(`${app.url}/v2/up/team/app/blobs/${layer.digest}`)
    assert.deepEqual([status, digestOf(body)], [200, layer.digest])
    assert.deepEqual(
      app.lines.filter(({ level }) => level === 'warn'),
      [],
    )
  }
})

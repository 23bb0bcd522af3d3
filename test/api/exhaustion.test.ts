// Requests that ask for too much, or send too much, and what they are told.
import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { suite, test } from 'node:test'
import { api } from '../../src/api/api.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { listen } from '../../src/http/listener.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { apiOptions } from '../support/api-options.ts'
import { ask, type Answer } from '../support/client.ts'

const mebibyte = 1024 * 1024

const digest = digestOf('nothing that is here')

/** Every resource with every method that it has, and one that it has not. */
const endpoints: readonly (readonly [method: string, path: string])[] = [
  ['GET', '/'],
  ['GET', '/v2/'],
  ['GET', '/v2/_catalog'],
  ['GET', '/v2/app/tags/list'],
  ['GET', '/v2/app/manifests/v1'],
  ['PUT', '/v2/app/manifests/v1'],
  ['PUT', `/v2/app/manifests/${digest}`],
  ['DELETE', '/v2/app/manifests/v1'],
  ['GET', `/v2/app/referrers/${digest}`],
  ['GET', `/v2/app/blobs/${digest}`],
  ['DELETE', `/v2/app/blobs/${digest}`],
  ['GET', '/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000'],
  ['PATCH', '/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000'],
  ['PUT', `/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000?digest=${digest}`],
  ['DELETE', '/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000'],
  ['POST', '/v2/app/blobs/uploads/?digest=none'],
  ['POST', '/v2/_catalog'],
  ['OPTIONS', '/v2/'],
]

interface Refused {
  readonly status: number
  /** Bytes of the body that were taken from us. */
  readonly taken: number
}

/** Sends a body without end until the answer is here, and then until the connection is cut. */
async function flood(url: string, method: string): Promise<Refused> {
  const outgoing = request(url, { agent: false, method, headers: { 'transfer-encoding': 'chunked' } })
  const chunk = Buffer.alloc(mebibyte, ' ')
  let taken = 0
  let status = 0
  outgoing.on('error', () => {}) // it is cut
  outgoing.on('response', (response: IncomingMessage) => {
    status = response.statusCode ?? 0
    response.on('error', () => {}).resume()
  })
  const write = (): void => {
    outgoing.write(chunk, (error) => {
      if (error) return
      taken += chunk.byteLength
      if (taken < 256 * mebibyte) setImmediate(write)
      else outgoing.destroy()
    })
  }
  write()
  if (!outgoing.closed) await new Promise((resolve) => outgoing.once('close', resolve))
  return { status, taken }
}

function errorOf(answer: Answer): void {
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.equal(answer.headers['x-content-type-options'], 'nosniff')
  assert.ok(answer.codes.length > 0 && answer.codes.every((code) => /^[A-Z_]+$/.test(code)), answer.codes.join(' '))
}

suite('too much', () => {
  for (const [method, path] of endpoints) {
    test(`T-90, P7: a body without end is not taken by ${method} ${path.replace(digest, '…')}`, async () => {
      await using app = await startAppUnderTest({ storage: { inmemory: {}, delete: { enabled: true } } })
      const { status, taken } = await flood(app.url + path, method)
      assert.ok(taken < 64 * mebibyte, `${taken} bytes were taken`)
      assert.notEqual(status, 500)
      assert.equal((await ask(`${app.url}/v2/`)).status, 200)
    })
  }

  test('T-90: a manifest that is too large is 413, by its length or by its bytes', async () => {
    await using app = await startAppUnderTest({})
    const body = Buffer.alloc(5 * mebibyte, ' ')
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, nth) => {
        const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' }
        return await ask(`${app.url}/v2/app/manifests/v1`, { method: 'PUT', body, headers, isChunked: nth % 2 === 0 })
      }),
    )
    for (const answer of answers) {
      assert.equal(answer.status, 413)
      errorOf(answer)
    }
  })

  test('T-90: neither the target nor the headers of a request can be long', async () => {
    await using app = await startAppUnderTest({})
    for (const [path, headers] of [
      [`/v2/app/manifests/${'x'.repeat(70_000)}`, {}],
      ['/v2/', { 'x-long': 'x'.repeat(70_000) }],
    ] as const) {
      const answer = await ask(app.url + path, { headers })
      assert.equal(answer.status, 431)
      errorOf(answer)
    }
    assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  })
})

const refusedNumbers = ['-1', '1e3', '٣', 'NaN', '1.5', ' 1', '0x10', '1_000', 'Infinity', '9'.repeat(16), '+1']

suite('lists', () => {
  test('T-91: a number of entries is a number, and never more than the most is sent', async () => {
    await using app = await startAppUnderTest({ catalog: { maxentries: 3 }, tags: { maxtags: 3 } })
    await putTags(app, 5)
    for (const list of ['_catalog', 'app/tags/list']) {
      for (const n of refusedNumbers) {
        const answer = await ask(`${app.url}/v2/${list}?n=${encodeURIComponent(n)}`)
        assert.deepEqual([answer.status, answer.codes], [400, ['PAGINATION_NUMBER_INVALID']], n)
        errorOf(answer)
      }
      assert.equal((await ask(`${app.url}/v2/${list}?n=0`)).headers['link'], undefined)
      const whole = await ask(`${app.url}/v2/${list}`)
      for (const empty of ['n=', 'last=', 'n=&last=']) {
        const { status, body, headers } = await ask(`${app.url}/v2/${list}?${empty}`)
        assert.deepEqual([status, body, headers['link']], [200, whole.body, whole.headers['link']], empty)
      }
    }
    for (const n of ['4', '1000000000', '999999999999999']) {
      const page = await ask(`${app.url}/v2/app/tags/list?n=${n}`)
      assert.deepEqual(JSON.parse(page.body.toString()), { name: 'app', tags: ['t0', 't1', 't2'] })
      assert.equal(page.headers['link'], '</v2/app/tags/list?last=t2&n=3>; rel="next"')
    }
    for (const last of ['', 'a', 'zzz', '%00', '٣', 'x'.repeat(5000)]) {
      assert.equal((await ask(`${app.url}/v2/app/tags/list?n=2&last=${encodeURIComponent(last)}`)).status, 200)
      assert.equal((await ask(`${app.url}/v2/_catalog?n=2&last=${encodeURIComponent(last)}`)).status, 200)
    }
  })

  test('T-92, P7: a long list comes in pages, each entry once, and no page is larger than the most', async () => {
    const many = 5500
    const store = openLocalRegistry({
      driver: inMemoryDriver(),
      descriptors: descriptorCache(openFactStore({ kind: 'none' }, silentLogger)),
      deleteEnabled: false,
      logger: silentLogger,
    })
    const { manifests, tags } = store.repository(parseRepositoryName('app'))
    const manifest = Buffer.from(manifestText)
    const { descriptor } = await manifests.put(manifest)
    for (let nth = 0; nth < many; nth++) await tags.put(parseTag(`t${nth}`), descriptor.digest)
    for (let nth = 0; nth < 1200; nth++)
      await store.repository(parseRepositoryName(`many/r${nth}`)).manifests.put(manifest)
    const handler = api(store, apiOptions({ readOnly: true }))
    await using listener = await listen(handler, { host: '127.0.0.1', port: 0, logger: silentLogger })
    for (const [list, key, count] of [
      ['app/tags/list', 'tags', many],
      ['_catalog', 'repositories', 1201],
    ] as const) {
      const seen = new Set<string>()
      let pages = 0
      for (let next: string | undefined = `/v2/${list}?n=1000000`; next !== undefined; pages++) {
        const { body, headers } = await ask(listener.url + next)
        const { [key]: entries = [] } = JSON.parse(body.toString()) as Record<string, string[]>
        assert.ok(entries.length <= 1000)
        for (const entry of entries) seen.add(entry)
        next = /^<([^>]+)>/.exec(headers['link']?.toString() ?? '')?.[1]
      }
      assert.deepEqual([seen.size, pages], [count, Math.ceil(count / 1000)])
    }
  })
})

const manifestText = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [],
})

async function putTags(app: AppUnderTest, count: number): Promise<void> {
  const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' }
  for (let nth = 0; nth < count; nth++) {
    const put = { method: 'PUT', body: manifestText, headers }
    assert.equal((await ask(`${app.url}/v2/app/manifests/t${nth}`, put)).status, 201)
  }
}

/** Requests that are wrong in every part that an answer might repeat. */
const hostile = '<script>alert(1)</script>'
const wrong: readonly (readonly [method: string, path: string])[] = [
  ...endpoints.filter(([method, path]) => method !== 'GET' || !['/', '/v2/', '/v2/_catalog'].includes(path)),
  ['GET', `/v2/${hostile}/manifests/v1`],
  ['GET', `/v2/app/manifests/${hostile}`],
  ['GET', `/v2/app/blobs/sha256:${hostile}`],
  ['GET', `/v2/app/tags/list?n=${hostile}`],
  ['GET', `/${hostile}`],
  ['PUT', `/v2/app/manifests/v1?tag=${hostile}`],
  ['PUT', `/v2/app/manifests/${digest}?tag=${hostile}`],
  ['POST', `/v2/app/blobs/uploads/?digest=${hostile}`],
  ['POST', `/v2/app/blobs/uploads/?digest-algorithm=${hostile}`],
  ['GET', `/v2/app/blobs/uploads/${hostile}`],
  ['GET', `/v2/app/manifests/v1?ns=${hostile}`],
]

test('T-99, P10: an error is JSON that no browser takes for a page, without a path, a stack or markup', async () => {
  await using folder = await temporaryFolder()
  const storage = { filesystem: { rootdirectory: folder.path } }
  for (const isBroken of [false, true]) {
    if (isBroken) await breakStorage(folder.path)
    await using app = await startAppUnderTest({ storage: { ...storage, delete: { enabled: true } } })
    for (const [method, path] of wrong) {
      const answer = await ask(app.url + path, { method, body: method === 'PUT' ? hostile : undefined } as object)
      if (answer.status < 400) continue // a body was not needed, and nothing was broken
      errorOf(answer)
      const text = answer.body.toString()
      assert.doesNotMatch(text, /[<>]|\n\s+at |\.ts:\d|node:/, `${method} ${path}`)
      assert.ok(!text.includes(folder.path), `${method} ${path}: ${text}`)
    }
  }
})

/** Files where folders should be: everything that is read or written fails. */
async function breakStorage(root: string): Promise<void> {
  await rm(`${root}/docker`, { recursive: true, force: true })
  await mkdir(`${root}/docker/registry/v2`, { recursive: true })
  for (const name of ['blobs', 'repositories']) await writeFile(`${root}/docker/registry/v2/${name}`, '')
}

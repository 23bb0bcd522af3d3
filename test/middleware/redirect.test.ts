// Storage middleware: clients are sent elsewhere for what is stored and proven, and for nothing else.
import assert from 'node:assert/strict'
import { createVerify, generateKeyPairSync } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { redirectBy } from '../../src/middleware/redirect.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { until } from '../support/proxy-under-test.ts'

const cdn = 'https://cdn.example.com/registry'

function pathOf(digest: string): string {
  const hex = digest.slice('sha256:'.length)
  return `/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`
}

/** The last byte of a fill leaves before its file has been put into place. */
async function redirected(url: string): Promise<void> {
  await until(async () => (await ask(url)).status === 307)
}

function redirecting(...storage: readonly unknown[]): Record<string, unknown> {
  return { middleware: { storage } }
}

const toCdn = { name: 'redirect', options: { baseurl: cdn } }

/** Pushes a blob, and reads it once: what was never read by this server may be anything. */
async function pushed(app: AppUnderTest, bytes: Buffer, digest: string): Promise<string> {
  const answer = await ask(`${app.url}/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  assert.equal(answer.status, 201)
  const url = `${app.url}/v2/app/blobs/${digest}`
  await pull(url)
  return url
}

for (const size of [0, 1000, 100_000]) {
  test(`a blob of ${size} bytes that is stored and proven is redirected`, async () => {
    await using app = await startAppUnderTest(redirecting(toCdn))
    const { bytes, digest } = randomBlob(size)
    const answer = await ask(await pushed(app, bytes, digest))
    assert.equal(answer.status, 307)
    assert.equal(answer.headers.location, cdn + pathOf(digest))
    assert.equal(answer.headers['docker-content-digest'], digest)
    assert.equal(answer.headers['cache-control'], undefined)
    assert.equal(answer.body.length, 0)
  })
}

test('HEAD, ranges and what the client has already are answered here', async () => {
  await using app = await startAppUnderTest(redirecting(toCdn))
  const { bytes, digest } = randomBlob(100_000)
  const url = await pushed(app, bytes, digest)
  const head = await ask(url, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers['content-length']], [200, '100000'])
  const part = await ask(url, { headers: { range: 'bytes=10-19' } })
  assert.deepEqual([part.status, part.body], [206, bytes.subarray(10, 20)])
  const several = await ask(url, { headers: { range: 'bytes=0-99999,0-99999' } })
  assert.equal(several.status, 200)
  assert.equal((await ask(url, { headers: { 'if-none-match': `"${digest}"` } })).status, 304)
})

test('a blob of another repository, and one that is not here, are not redirected', async () => {
  await using app = await startAppUnderTest(redirecting(toCdn))
  const { bytes, digest } = randomBlob(1000)
  await pushed(app, bytes, digest)
  assert.equal((await ask(`${app.url}/v2/other/blobs/${digest}`)).status, 404)
  assert.equal((await ask(`${app.url}/v2/app/blobs/${randomBlob(1).digest}`)).status, 404)
})

test('P1: a cold pull is served here; once the blob is stored and proven it is redirected, and a client finds it', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(300_000)
  await origin.addBlob('app', bytes)
  const server = createServer((request, response) => {
    void readFile(join(folder.path, request.url ?? '')).then((found) => response.end(found))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const elsewhere = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    await using app = await startAppUnderTest({
      storage: { filesystem: { rootdirectory: folder.path } },
      proxy: { upstreams: { up: { url: origin.url } } },
      ...redirecting({ name: 'redirect', options: { baseurl: `${elsewhere}/` } }),
    })
    const url = `${app.url}/v2/up/app/blobs/${digest}`
    const cold = await pull(url)
    assert.deepEqual([cold.status, cold.digest, cold.complete], [200, digest, true])
    await redirected(url)
    assert.equal((await ask(url)).headers.location, elsewhere + pathOf(digest))
    assert.equal((await pull(elsewhere + pathOf(digest))).digest, digest)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

test('P6: what was damaged since it was proven is not redirected but fetched again', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(300_000)
  await origin.addBlob('app', bytes)
  await using app = await startAppUnderTest({
    storage: { filesystem: { rootdirectory: folder.path } },
    proxy: { upstreams: { up: { url: origin.url } } },
    ...redirecting(toCdn),
  })
  const url = `${app.url}/v2/up/app/blobs/${digest}`
  await pull(url)
  await redirected(url)
  await writeFile(join(folder.path, pathOf(digest)), randomBlob(300_000).bytes)
  const damaged = await pull(url)
  assert.equal(damaged.complete && damaged.digest !== digest, false)
  assert.notEqual(damaged.status, 307)
  const healed = await pull(url)
  assert.deepEqual([healed.status, healed.digest], [200, digest])
})

test('storage.redirect.disable, a disabled step and verify: always keep every answer here', async () => {
  const { bytes, digest } = randomBlob(1000)
  for (const sections of [
    { ...redirecting(toCdn), storage: { inmemory: {}, redirect: { disable: true } } },
    { ...redirecting(toCdn), storage: { inmemory: {}, verify: 'always' } },
    redirecting({ ...toCdn, disabled: true }),
    {},
  ]) {
    await using app = await startAppUnderTest(sections)
    assert.equal((await ask(await pushed(app, bytes, digest))).status, 200)
  }
})

test('what this server has not read is served here, unless the disk is trusted', async () => {
  const { bytes, digest } = randomBlob(300_000)
  for (const [verify, status] of [
    ['first', 200],
    ['never', 307],
  ] as const) {
    await using folder = await temporaryFolder()
    const storage = { filesystem: { rootdirectory: folder.path }, verify }
    {
      await using app = await startAppUnderTest({ storage })
      await pushed(app, bytes, digest)
    }
    await using app = await startAppUnderTest({ ...redirecting(toCdn), storage })
    assert.equal((await ask(`${app.url}/v2/app/blobs/${digest}`)).status, status, verify)
    assert.equal((await ask(`${app.url}/v2/app/blobs/${digest}`)).status, 307, verify)
  }
})

test('steps are applied in the order of the list', async () => {
  const path = pathOf(randomBlob(1).digest)
  const redirect = { kind: 'redirect', baseUrl: new URL('http://a.example:8080/base/') } as const
  const rewrite = {
    kind: 'rewrite',
    scheme: 'https',
    host: 'b.example:8443',
    trimPathPrefix: '/base/docker/registry',
  } as const
  const all = redirectBy([redirect, rewrite])
  assert.equal((await all?.(path))?.href, `https://b.example:8443${path.slice('/docker/registry'.length)}`)
  const reversed = redirectBy([rewrite, redirect])
  assert.equal((await reversed?.(path))?.href, `http://a.example:8080/base${path}`)
  const nothing = { kind: 'rewrite', scheme: undefined, host: undefined, trimPathPrefix: '/elsewhere' } as const
  assert.equal((await redirectBy([redirect, nothing])?.(path))?.href, `http://a.example:8080/base${path}`)
  assert.equal(redirectBy([rewrite]), undefined)
})

test('a signed redirect is what CloudFront checks: the canned policy of that very URL, by RSA with SHA-1', async () => {
  await using folder = await temporaryFolder()
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const keyFile = join(folder.path, 'key.pem')
  await writeFile(keyFile, privateKey.export({ type: 'pkcs1', format: 'pem' }))
  const options = { baseurl: 'd111.cloudfront.net', privatekey: keyFile, keypairid: 'K2JCJMDEHXQW5F', duration: '5m' }
  await using app = await startAppUnderTest(redirecting({ name: 'cloudfront', options }))
  const { bytes, digest } = randomBlob(1000)
  const url = await pushed(app, bytes, digest)
  const before = Math.floor(Date.now() / 1000)
  const answer = await ask(url)
  const after = Math.floor(Date.now() / 1000)
  assert.equal(answer.status, 307)
  const location = new URL(answer.headers.location ?? '')
  const resource = `https://d111.cloudfront.net${pathOf(digest)}`
  assert.equal(location.origin + location.pathname, resource)
  assert.deepEqual([...location.searchParams.keys()], ['Expires', 'Signature', 'Key-Pair-Id'])
  assert.equal(location.searchParams.get('Key-Pair-Id'), 'K2JCJMDEHXQW5F')
  const end = Number(location.searchParams.get('Expires'))
  assert.ok(end >= before + 300 && end <= after + 300)
  const signature = /Signature=([^&]*)/.exec(location.search)?.[1] ?? ''
  assert.match(signature, /^[A-Za-z0-9_~-]+$/)
  const policy = `{"Statement":[{"Resource":"${resource}","Condition":{"DateLessThan":{"AWS:EpochTime":${end}}}}]}`
  const base64 = signature.replaceAll('-', '+').replaceAll('_', '=').replaceAll('~', '/')
  assert.ok(createVerify('RSA-SHA1').update(policy).verify(publicKey, base64, 'base64'))
  assert.doesNotMatch(app.text(), /Signature=/)
})

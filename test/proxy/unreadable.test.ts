// T-32: what is stored and cannot be read is damage. Copies are fetched again, what is ours is an honest 5xx.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { parseDigest, type Digest } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { blobPath, linkPath, tagCurrentPath } from '../../src/storage/layout.ts'
import { openStore } from '../storage/fixture.ts'
import { ask, pull, type Pulled } from '../support/client.ts'
import { watchedDriver, type DriverCall } from '../support/faulty-driver.ts'
import { startProxyUnderTest, type ProxyUnderTest } from '../support/proxy-under-test.ts'
import { randomBlob, startOrigin, type Origin } from '../support/origin.ts'

const repository = 'org/app'
const hosted = parseRepositoryName('local/app')
const codes = ['EIO', 'ESTALE', 'EACCES', 'EUCLEAN'] as const

/** Decides which calls fail, and with what. */
interface Dial {
  fails: (call: DriverCall) => string | undefined
}

/** A file that lies where it lay: until it is replaced, these calls of it fail. */
function breakFile(dial: Dial, path: string, methods: readonly DriverCall['method'][], code = 'EIO'): void {
  let isReplaced = false
  dial.fails = (call) => {
    if (call.to === path || (call.method === 'write' && call.path === path)) isReplaced = true
    return !isReplaced && call.path === path && methods.includes(call.method) ? code : undefined
  }
}

interface Setting extends AsyncDisposable {
  readonly origin: Origin
  readonly mirror: ProxyUnderTest
  readonly dial: Dial
  readonly driver: StorageDriver
  /** The same tree in a new process. */
  restart(): Promise<ProxyUnderTest>
}

async function prepare(): Promise<Setting> {
  const resources = new AsyncDisposableStack()
  const origin = resources.use(await startOrigin())
  const dial: Dial = { fails: () => undefined }
  const plain = inMemoryDriver()
  const driver = watchedDriver(plain, (call) => {
    const code = dial.fails(call)
    if (code !== undefined) throw new DriverError(code, `${code} at ${call.path}`)
  })
  const restart = async (): Promise<ProxyUnderTest> =>
    resources.use(
      await startProxyUnderTest(origin, {
        driver,
        deleteEnabled: true,
        upstream: { name: undefined },
        proxy: { hosted: ['local/**'] },
      }),
    )
  const mirror = await restart()
  const dispose = async (): Promise<void> => await resources.disposeAsync()
  return { origin, mirror, dial, driver: plain, restart, [Symbol.asyncDispose]: dispose }
}

function assertRight({ status, digest, complete }: Pulled, expected: Digest, what: string): void {
  assert.deepEqual({ status, digest, complete }, { status: 200, digest: expected, complete: true }, what)
}

function digestIn(path: string): Digest {
  return parseDigest(path.slice(path.lastIndexOf('/') + 1))
}

const large = 300_000
const small = 1000

suite('a copy that cannot be read', () => {
  for (const size of [large, small]) {
    for (const code of codes) {
      test(`${code} at the opening of a blob of ${size} bytes: the same request has it from the upstream`, async () => {
        await using setting = await prepare()
        const { origin, dial } = setting
        const { bytes, digest } = randomBlob(size)
        await origin.addBlob(repository, bytes)
        const path = `/v2/${repository}/blobs/${digest}`
        assertRight(await pull(setting.mirror.url + path), digest, 'cold')
        for (const mirror of [setting.mirror, await setting.restart()]) {
          breakFile(dial, blobPath(digest), ['open', 'read'], code)
          const { length } = origin.seen
          assertRight(await pull(mirror.url + path), digest, 'broken')
          assert.deepEqual(origin.seen.slice(length), [`GET ${path}`])
          assertRight(await pull(mirror.url + path), digest, 'mended')
          assert.equal(origin.seen.length, length + 1, 'it is stored again')
        }
      })
    }
  }

  test('EIO in the middle of a blob cuts the connection, and the next request has it from the upstream', async () => {
    await using setting = await prepare()
    const { origin, dial } = setting
    const { bytes, digest } = randomBlob(large)
    await origin.addBlob(repository, bytes)
    const path = `/v2/${repository}/blobs/${digest}`
    assertRight(await pull(setting.mirror.url + path), digest, 'cold')
    for (const mirror of [setting.mirror, await setting.restart()]) {
      breakFile(dial, blobPath(digest), ['chunk'])
      const cut = await pull(mirror.url + path)
      assert.deepEqual([cut.status, cut.complete], [200, false])
      const { length } = origin.seen
      const next = await Promise.all(Array.from({ length: 5 }, () => pull(mirror.url + path)))
      for (const answer of next) assertRight(answer, digest, 'the next ones')
      assert.deepEqual(origin.seen.slice(length), [`GET ${path}`])
      assertRight(await pull(mirror.url + path), digest, 'mended')
      assert.equal(origin.seen.length, length + 1)
      const told = mirror.lines.filter(({ msg }) => msg === 'blob cannot be read')
      assert.equal(told.length, 1, 'told once')
    }
  })

  test('a reading that fails once costs one connection: what can be read again is served again', async () => {
    await using setting = await prepare()
    const { origin, dial, mirror } = setting
    const { bytes, digest } = randomBlob(large)
    await origin.addBlob(repository, bytes)
    const url = `${mirror.url}/v2/${repository}/blobs/${digest}`
    assertRight(await pull(url), digest, 'cold')
    breakFile(dial, blobPath(digest), ['chunk'])
    assert.equal((await pull(url)).complete, false)
    dial.fails = () => undefined
    await origin.stop()
    assertRight(await pull(url), digest, 'from here')
  })

  test('with the upstream gone it is a 5xx, never 404, and never wrong; with the upstream saying 404 too', async () => {
    await using setting = await prepare()
    const { origin, dial } = setting
    const image = await origin.addImage(repository, 'v1', [randomBlob(large).bytes, randomBlob(small).bytes])
    for (const reference of ['v1', image.manifest])
      await pull(`${setting.mirror.url}/v2/${repository}/manifests/${reference}`)
    const blobs = [image.config, ...image.layers]
    for (const digest of blobs) await pull(`${setting.mirror.url}/v2/${repository}/blobs/${digest}`)
    const broken = new Set([image.manifest, ...blobs].map(blobPath))
    const paths = [`manifests/${image.manifest}`, 'manifests/v1', ...blobs.map((digest) => `blobs/${digest}`)]
    for (const trouble of ['404', 'gone']) {
      origin.dial = () => ({ reply: { status: 404, headers: {} } })
      if (trouble === 'gone') await origin.stop()
      const mirror = await setting.restart()
      dial.fails = ({ path, method }) => (broken.has(path) && ['open', 'read'].includes(method) ? 'EIO' : undefined)
      for (const path of paths) {
        const { status } = await ask(`${mirror.url}/v2/${repository}/${path}`)
        if (trouble === '404' && path === 'manifests/v1') assert.equal(status, 404, 'the tag is gone')
        else assert.ok(status >= 500, `${trouble}: ${path}: ${status}`)
      }
      dial.fails = () => undefined
      for (const path of paths.slice(trouble === '404' ? 2 : 0)) {
        assert.equal((await pull(`${mirror.url}/v2/${repository}/${path}`)).status, 200, `${trouble}: ${path}: whole`)
      }
    }
  })

  test('a manifest, its link and its tag: the same request has them from the upstream, and they are mended', async () => {
    await using setting = await prepare()
    const { origin, dial, driver } = setting
    const image = await origin.addImage(repository, 'v1', [])
    const name = parseRepositoryName(repository)
    const places = [
      blobPath(image.manifest),
      linkPath(name, 'manifests', image.manifest),
      tagCurrentPath(name, parseTag('v1')),
      blobPath(image.config),
      linkPath(name, 'blobs', image.config),
    ]
    const pullAll = async (mirror: ProxyUnderTest, what: string): Promise<void> => {
      for (const path of ['manifests/v1', `manifests/${image.manifest}`]) {
        assertRight(await pull(`${mirror.url}/v2/${repository}/${path}`), image.manifest, what)
      }
      assertRight(await pull(`${mirror.url}/v2/${repository}/blobs/${image.config}`), image.config, what)
    }
    await pullAll(setting.mirror, 'cold')
    for (const place of places) {
      breakFile(dial, place, ['open', 'read', 'stat'])
      await pullAll(await setting.restart(), place)
      dial.fails = () => undefined
      await driver.stat(place)
    }
    await origin.stop()
    await pullAll(await setting.restart(), 'mended')
  })

  test('another repository that has a right to it has it from the upstream', async () => {
    await using setting = await prepare()
    const { origin, dial } = setting
    for (const size of [large, small]) {
      const { bytes, digest } = randomBlob(size)
      await origin.addBlob(repository, bytes)
      await origin.addBlob('org/other', bytes)
      await pull(`${setting.mirror.url}/v2/${repository}/blobs/${digest}`)
      const mirror = await setting.restart()
      breakFile(dial, blobPath(digest), ['open'])
      assertRight(await pull(`${mirror.url}/v2/org/other/blobs/${digest}`), digest, 'from the upstream')
    }
  })
})

suite('what is ours and cannot be read', () => {
  test('is a 5xx for as long as it cannot be read, and never goes away', async () => {
    await using setting = await prepare()
    const { dial, driver } = setting
    const ours = openStore(driver).repository(hosted)
    const layers = [randomBlob(large), randomBlob(small)]
    for (const { bytes } of layers) await ours.blobs.put(bytes)
    const manifest = Buffer.from('{"schemaVersion":2,"manifests":[]}')
    const { descriptor } = await ours.manifests.put(manifest)
    for (const [kind, digest] of [
      ['manifests', descriptor.digest],
      ...layers.map((layer) => ['blobs', layer.digest] as const),
    ] as const) {
      const mirror = await setting.restart()
      const url = `${mirror.url}/v2/${hosted}/${kind}/${digest}`
      for (const place of [blobPath(digest), linkPath(hosted, kind, digest)]) {
        breakFile(dial, place, ['open', 'read', 'stat'])
        for (let time = 0; time < 2; time++) assert.equal((await ask(url)).status, 500, place)
        assert.ok(mirror.lines.some(({ error }) => JSON.stringify(error ?? '').includes('EIO')))
        dial.fails = () => undefined
        const restarted = await setting.restart()
        assertRight(await pull(`${restarted.url}/v2/${hosted}/${kind}/${digest}`), digest, place)
      }
      breakFile(dial, blobPath(digest), ['chunk', 'read'])
      const cut = await pull(`${(await setting.restart()).url}/v2/${hosted}/${kind}/${digest}`)
      assert.ok(cut.status === 500 || !cut.complete)
      dial.fails = () => undefined
      assertRight(await pull(url), digest, 'readable again')
    }
    assert.deepEqual(await driver.list('/entrepot/damaged').catch(() => []), [])
  })
})

test('T-98, P10: where the process has run out of descriptors it is a 503 for the moment, and the upstream is not asked', async () => {
  for (const code of ['EMFILE', 'ENFILE', 'ENOMEM']) {
    await using setting = await prepare()
    const { origin, dial } = setting
    const image = await origin.addImage(repository, 'v1', [randomBlob(large).bytes])
    const paths = [
      `manifests/${image.manifest}`,
      ...[image.config, ...image.layers].map((digest) => `blobs/${digest}`),
    ].map((path) => `/v2/${repository}/${path}`)
    for (const path of paths) assert.equal((await pull(setting.mirror.url + path)).status, 200)
    const mirror = await setting.restart()
    const { length } = origin.seen
    dial.fails = ({ method }) => (method === 'open' || method === 'read' ? code : undefined)
    for (const path of paths) {
      const refused = await ask(mirror.url + path)
      assert.deepEqual([refused.status, refused.codes, refused.headers['retry-after']], [503, ['UNAVAILABLE'], '1'])
    }
    dial.fails = () => undefined
    for (const path of paths) assertRight(await pull(mirror.url + path), digestIn(path), path)
    assert.equal(origin.seen.length, length)
  }
})

// Referrers through the whole server: asked of a real origin, kept with the image, served when the origin is gone.
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { fallbackTag } from '../../src/oci/referrer.ts'
import type { Fault } from '../support/origin.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { startProxyUnderTest, until } from '../support/proxy-under-test.ts'
import { randomBlob, startOrigin, type Image, type Origin } from '../support/origin.ts'
import { askReferrers, bytesOf, listedAs, referrerDocument, sbomType, signatureType } from '../support/referrers.ts'

interface Signature {
  readonly manifest: Digest
  readonly layer: Digest
}

interface Signed {
  readonly image: Image
  readonly signature: Signature
  readonly sbom: Signature
  /** Of both, in the order of a list. */
  readonly digests: readonly Digest[]
}

async function attach(origin: Origin, subject: Digest, artifactType: string, layerSize = 100_000): Promise<Signature> {
  const { bytes } = randomBlob(layerSize)
  await origin.addBlob('app', Buffer.from('{}'))
  const layer = await origin.addBlob('app', bytes)
  const layers = [{ mediaType: mediaTypes.octetStream, digest: layer, size: layerSize }]
  const manifest = await origin.addManifest(
    'app',
    undefined,
    referrerDocument(subject, artifactType, { artifactType, layers }),
  )
  return { manifest, layer }
}

async function addSigned(origin: Origin): Promise<Signed> {
  const image = await origin.addImage('app', 'v1', [randomBlob(1000).bytes])
  const signature = await attach(origin, image.manifest, signatureType)
  const sbom = await attach(origin, image.manifest, sbomType, 10)
  return { image, signature, sbom, digests: [signature.manifest, sbom.manifest].toSorted() }
}

async function mirror(origin: Pick<Origin, 'url'>, proxy: Record<string, unknown> = {}): Promise<AppUnderTest> {
  const timeouts = { connect: '2s', firstbyte: '300ms', idle: '300ms' }
  return await startAppUnderTest({
    proxy: { upstreams: { up: { url: origin.url, default: true } }, freshness: '0s', timeouts, ...proxy },
  })
}

/** Waits until the copies that a list has started are over. */
async function copied(app: AppUnderTest, times = 1): Promise<Record<string, unknown>[]> {
  const said = /^referrers (?:not )?copied$/
  while (true) {
    const lines = app.lines.filter((line) => said.test(String(line['msg'])))
    if (lines.length >= times) return lines
    await new Promise(setImmediate)
  }
}

/** Lets the upstream be one without the referrers API, where clients have kept the list under a tag. */
async function makeOld(origin: Origin, { image, digests }: Signed): Promise<void> {
  const entries = []
  for (const digest of digests) {
    entries.push(listedAs(Buffer.from((await origin.repository('app').manifests.get(digest)).bytes)))
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: entries }
  await origin.addManifest('app', fallbackTag(image.manifest), index)
  origin.dial = withoutApi
}

function withoutApi({ path }: { readonly path: string }): Fault | undefined {
  return path.includes('/referrers/') ? { reply: { status: 404, headers: {} } } : undefined
}

for (const [kind, prepare] of [
  ['with the referrers API', async () => {}],
  ['without it, where clients keep a tag', makeOld],
] as const) {
  test(`P3: signatures and SBOMs of an upstream ${kind} survive its outage`, async () => {
    await using origin = await startOrigin()
    const signed = await addSigned(origin)
    await prepare(origin, signed)
    await using app = await mirror(origin)
    const subject = signed.image.manifest
    const answer = await askReferrers(app.url, 'app', subject)
    assert.deepEqual(answer.digests, signed.digests)
    assert.equal(answer.headers.warning, undefined)
    assert.equal((await copied(app))[0]?.['manifests'], 2)
    await origin.stop()

    const stale = await askReferrers(app.url, 'app', subject)
    assert.deepEqual(stale.manifests, answer.manifests)
    assert.match(stale.headers.warning ?? '', /^299 - ".+"$/)
    assert.ok(app.lines.some((line) => line['msg'] === 'stale answer'))
    const filtered = await askReferrers(app.url, 'app', subject, `?artifactType=${sbomType}`)
    assert.deepEqual(filtered.digests, [signed.sbom.manifest])
    for (const { manifest, layer } of [signed.signature, signed.sbom]) {
      assert.equal((await pull(`${app.url}/v2/app/manifests/${manifest}`)).digest, manifest)
      for (const blob of [layer, digestOf('{}')]) {
        assert.equal((await pull(`${app.url}/v2/app/blobs/${blob}`)).digest, blob)
      }
    }
  })

  test(`a fresh list of an upstream ${kind} is served without asking, a stale one follows it`, async () => {
    await using origin = await startOrigin()
    const signed = await addSigned(origin)
    await prepare(origin, signed)
    await using fresh = await mirror(origin, { freshness: '1h' })
    await using always = await mirror(origin)
    const subject = signed.image.manifest
    for (const app of [fresh, always]) {
      assert.deepEqual((await askReferrers(app.url, 'app', subject)).digests, signed.digests)
      await copied(app)
    }
    const late = await attach(origin, subject, 'application/vnd.late')
    if (kind.startsWith('without')) await makeOld(origin, { ...signed, digests: [...signed.digests, late.manifest] })
    origin.seen.length = 0
    assert.deepEqual((await askReferrers(fresh.url, 'app', subject)).digests, signed.digests)
    assert.deepEqual(origin.seen, [])
    const expected = [...signed.digests, late.manifest].toSorted()
    assert.deepEqual((await askReferrers(always.url, 'app', subject)).digests, expected)
  })

  test(`nothing refers to what an upstream ${kind} has no referrers of, and that is known in an outage`, async () => {
    await using origin = await startOrigin()
    await prepare(origin, await addSigned(origin))
    const plain = await origin.addImage('app', 'v2', [])
    await using app = await mirror(origin)
    assert.equal((await pull(`${app.url}/v2/app/manifests/${plain.manifest}`)).status, 200)
    for (const [name, subject] of [
      ['app', plain.manifest],
      ['never/seen', digestOf('never seen')],
    ] as const) {
      const answer = await askReferrers(app.url, name, subject)
      assert.deepEqual(answer.digests, [])
      assert.equal(answer.headers.warning, undefined)
    }
    await origin.stop()
    assert.deepEqual((await askReferrers(app.url, 'app', plain.manifest)).digests, [])
    assert.equal((await ask(`${app.url}/v2/never/seen/referrers/${digestOf('never seen')}`)).status, 502)
  })
}

const troubles: readonly (readonly [string, Fault, number, string])[] = [
  ['403', { reply: { status: 403, headers: {} } }, 403, 'DENIED'],
  ['429', { reply: { status: 429, headers: { 'retry-after': '17' } } }, 429, 'TOOMANYREQUESTS'],
  ['500', { reply: { status: 500, headers: {} } }, 502, 'UNAVAILABLE'],
  ['silence', { wait: new Promise(() => {}) }, 504, 'UNAVAILABLE'],
  [
    'a broken list',
    { reply: { status: 200, headers: { 'content-type': mediaTypes.ociIndex }, body: Buffer.from('{"manifes') } },
    502,
    'UNAVAILABLE',
  ],
]

for (const [trouble, fault, status, code] of troubles) {
  test(`P10: ${trouble} from the upstream is ${status} ${code} where no list is known, never an empty one`, async () => {
    await using origin = await startOrigin()
    origin.dial = () => fault
    await using app = await mirror(origin)
    const answer = await ask(`${app.url}/v2/app/referrers/${digestOf('x')}`)
    assert.equal(answer.status, status, answer.body.toString())
    assert.deepEqual(answer.codes, [code])
  })

  test(`P3: ${trouble} from the upstream leaves the list that is known served`, async () => {
    await using origin = await startOrigin()
    const signed = await addSigned(origin)
    await using app = await mirror(origin)
    await askReferrers(app.url, 'app', signed.image.manifest)
    await copied(app)
    origin.dial = () => fault
    const stale = await askReferrers(app.url, 'app', signed.image.manifest)
    assert.deepEqual(stale.digests, signed.digests)
    assert.match(stale.headers.warning ?? '', /^299 - /)
  })
}

test('an upstream that has lost the repository leaves the list served; one that says there are none is believed', async () => {
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  await using app = await mirror(origin)
  const subject = signed.image.manifest
  await askReferrers(app.url, 'app', subject)
  await copied(app)
  origin.dial = () => ({ reply: { status: 404, headers: {} } })
  const stale = await askReferrers(app.url, 'app', subject)
  assert.deepEqual(stale.digests, signed.digests)
  assert.match(stale.headers.warning ?? '', /^299 - /)
  origin.dial = () => undefined
  for (const digest of signed.digests) await origin.repository('app').manifests.delete(digest)
  const empty = await askReferrers(app.url, 'app', subject)
  assert.deepEqual(empty.digests, [])
  assert.equal(empty.headers.warning, undefined)
  await origin.stop()
  assert.deepEqual((await askReferrers(app.url, 'app', subject)).digests, [])
})

test('in an outage, signatures that were pulled without their list are listed', async () => {
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  await using app = await mirror(origin)
  await pull(`${app.url}/v2/app/manifests/${signed.signature.manifest}`)
  await origin.stop()
  const answer = await askReferrers(app.url, 'app', signed.image.manifest)
  assert.deepEqual(answer.digests, [signed.signature.manifest])
  assert.match(answer.headers.warning ?? '', /^299 - /)
})

test('P3: nobody waits for the list of an upstream in trouble, or longer than there is patience', async () => {
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  const subject = signed.image.manifest
  const upstream = { freshness: 60_000 }
  await using app = await startProxyUnderTest(origin, { upstream, proxy: { patience: 20 } })
  await pull(`${app.url}/v2/app/manifests/${subject}`)
  assert.deepEqual((await askReferrers(app.url, 'app', subject)).digests, signed.digests)
  await until(() => app.lines.some(({ msg }) => msg === 'referrers copied'))
  const late = await attach(origin, subject, 'application/vnd.late')
  const gate = Promise.withResolvers<void>()
  origin.dial = () => ({ wait: gate.promise })
  origin.seen.length = 0
  app.pass(60_000)
  for (const isReachable of [false, true]) {
    app.condition = { isReachable, pullsLeft: undefined }
    const stale = await askReferrers(app.url, 'app', subject)
    assert.deepEqual(stale.digests, signed.digests)
    assert.match(
      stale.headers.warning ?? '',
      isReachable ? /did not answer within 0\.02 s/ : /has failed lately, and was not waited for/,
    )
  }
  gate.resolve()
  const expected = [...signed.digests, late.manifest].toSorted()
  await until(async () => (await askReferrers(app.url, 'app', subject)).digests.length === expected.length)
  const lists = origin.seen.filter((line) => line.includes('/referrers/'))
  assert.deepEqual(lists, [`GET /v2/app/referrers/${subject}`])
  app.pass(59_000)
  const ahead = await askReferrers(app.url, 'app', subject)
  assert.deepEqual(ahead.digests, expected)
  assert.equal(ahead.headers.warning, undefined)
  await until(() => origin.seen.filter((line) => line.includes('/referrers/')).length === 2)
})

test('P4: 100 clients who ask for one list make one request, and wait for no copy', async () => {
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  const { promise: never } = Promise.withResolvers<void>()
  origin.dial = ({ path }) => (path.includes('/referrers/') ? undefined : { wait: never })
  await using app = await mirror(origin, { freshness: '1m' })
  const answers = await Promise.all(
    Array.from({ length: 100 }, async () => await askReferrers(app.url, 'app', signed.image.manifest)),
  )
  for (const { digests } of answers) assert.deepEqual(digests, signed.digests)
  assert.deepEqual(
    origin.seen.filter((line) => line.includes('/referrers/')),
    [`GET /v2/app/referrers/${signed.image.manifest}`],
  )
})

test('P7: what is copied ahead of time is bounded: 50 manifests, and blobs of 8 MiB', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  const large = await attach(origin, image.manifest, signatureType, 9 * 1024 * 1024)
  for (let index = 0; index < 60; index++) {
    await origin.addManifest('app', undefined, referrerDocument(image.manifest, `${index}`))
  }
  await using app = await mirror(origin)
  assert.equal((await askReferrers(app.url, 'app', image.manifest)).digests.length, 61)
  assert.equal((await copied(app))[0]?.['manifests'], 50)
  assert.equal(origin.seen.filter((line) => line.startsWith('GET /v2/app/manifests/')).length, 50)
  assert.ok(!origin.seen.includes(`GET /v2/app/blobs/${large.layer}`))
})

test('P7: of referrers that the upstream does not have, 50 are asked for', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  const entries = Array.from({ length: 120 }, (_, index) =>
    listedAs(bytesOf(referrerDocument(image.manifest, `${index}`))),
  )
  const list = bytesOf({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: entries })
  const reply = { status: 200, headers: { 'content-type': mediaTypes.ociIndex }, body: list }
  origin.dial = ({ path }) => (path.includes('/referrers/') ? { reply } : undefined)
  await using app = await mirror(origin)
  assert.equal((await askReferrers(app.url, 'app', image.manifest)).digests.length, 120)
  assert.equal((await copied(app))[0]?.['manifests'], 0)
  assert.equal(origin.seen.filter((line) => line.startsWith('GET /v2/app/manifests/')).length, 50)
})

const refusals: readonly (readonly [string, Fault, number])[] = [
  ['is denied', { reply: { status: 403, headers: {} } }, 5],
  ['is gone', { reply: { status: 404, headers: {} } }, 5],
  ['has other bytes', { reply: { status: 200, headers: { 'content-type': mediaTypes.ociManifest } } }, 5],
  ['is asked for too often', { reply: { status: 429, headers: { 'retry-after': '17' } } }, 0],
  ['makes the upstream fail', { reply: { status: 500, headers: {} } }, 0],
]

for (const [what, fault, others] of refusals) {
  test(`a referrer that ${what} ${others > 0 ? 'leaves the others to be copied' : 'ends the copying'}`, async () => {
    await using origin = await startOrigin()
    const image = await origin.addImage('app', 'v1', [])
    await origin.addBlob('app', Buffer.from('{}'))
    const digests: Digest[] = []
    for (let index = 0; index < 6; index++) {
      digests.push(await origin.addManifest('app', undefined, referrerDocument(image.manifest, `${index}`)))
    }
    const [first, ...rest] = digests.toSorted()
    origin.dial = ({ path }) => (path.endsWith(`/manifests/${first}`) ? fault : undefined)
    await using app = await mirror(origin)
    await askReferrers(app.url, 'app', image.manifest)
    const [line] = await copied(app)
    assert.equal(line?.['msg'], others > 0 ? 'referrers copied' : 'referrers not copied')
    await origin.stop()
    const statuses = await Promise.all(
      rest.map(async (digest) => (await pull(`${app.url}/v2/app/manifests/${digest}`)).status),
    )
    assert.equal(statuses.filter((status) => status === 200).length, others)
  })
}

test('P3: a mirror whose disk cannot keep the list answers with it, and says so', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  await mkdir(join(folder.path, 'entrepot'), { recursive: true })
  await writeFile(join(folder.path, 'entrepot', 'referrers'), 'in the way')
  const upstreams = { up: { url: origin.url, default: true } }
  const storage = { filesystem: { rootdirectory: folder.path } }
  await using app = await startAppUnderTest({ storage, proxy: { upstreams, freshness: '0s' } })
  const answer = await askReferrers(app.url, 'app', signed.image.manifest)
  assert.deepEqual(answer.digests, signed.digests)
  const lines = app.lines.filter(({ msg, subject }) => String(msg).startsWith('storage fails') && subject !== undefined)
  assert.deepEqual(
    lines.map((line) => [line['repository'], line['subject']]),
    [['up/app', signed.image.manifest]],
  )
})

test('the manifests that an index of attestations names are copied with it', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('app', 'v1', [])
  await origin.addBlob('app', Buffer.from('{}'))
  const child = bytesOf(referrerDocument(digestOf('another'), 'child'))
  const { digest: childDigest } = (await origin.repository('app').manifests.put(child)).descriptor
  const { config, layers, ...document } = referrerDocument(image.manifest, 'an index')
  assert.ok(config !== undefined && layers !== undefined)
  await origin.addManifest('app', undefined, {
    ...document,
    mediaType: mediaTypes.ociIndex,
    manifests: [listedAs(child)],
  })
  await using app = await mirror(origin)
  await askReferrers(app.url, 'app', image.manifest)
  assert.equal((await copied(app))[0]?.['manifests'], 2)
  await origin.stop()
  assert.equal((await pull(`${app.url}/v2/app/manifests/${childDigest}`)).digest, childDigest)
})

test('P9: a server that stops while it copies stops at once', async () => {
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  const asked = Promise.withResolvers<void>()
  origin.dial = ({ path }) => {
    if (!path.includes('/manifests/')) return undefined
    asked.resolve()
    return { wait: new Promise(() => {}) }
  }
  await using app = await startAppUnderTest({
    proxy: { upstreams: { up: { url: origin.url, default: true } }, timeouts: { firstbyte: '10m' } },
  })
  await askReferrers(app.url, 'app', signed.image.manifest)
  await asked.promise
  await app.app.close()
  assert.ok(app.lines.some((line) => line['msg'] === 'referrers not copied'))
})

test('offline, the list that is kept is served, also by another process, and nobody is asked', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const signed = await addSigned(origin)
  const storage = { filesystem: { rootdirectory: folder.path } }
  const upstreams = { up: { url: origin.url, default: true } }
  {
    await using app = await startAppUnderTest({ storage, proxy: { upstreams } })
    await askReferrers(app.url, 'app', signed.image.manifest)
    await copied(app)
  }
  origin.seen.length = 0
  await using app = await startAppUnderTest({ storage, proxy: { upstreams, offline: true } })
  const answer = await askReferrers(app.url, 'app', signed.image.manifest)
  assert.deepEqual(answer.digests, signed.digests)
  assert.equal(answer.headers.warning, undefined)
  assert.deepEqual((await askReferrers(app.url, 'app', digestOf('x'))).digests, [])
  assert.deepEqual(origin.seen, [])
})

// The list of referrers as clients get it: pages and filter over any source, and a repository of our own over HTTP.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ListTarget } from '../../src/api/listing.ts'
import { listReferrers, type ReferrersPage } from '../../src/api/referrers.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { fallbackTag, type Referrer } from '../../src/oci/referrer.ts'
import type { ReferrersSource } from '../../src/registry/source.ts'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { askReferrers, bytesOf, listedAs, referrerDocument, sbomType, signatureType } from '../support/referrers.ts'

const subject = digestOf('an image')

function sourceOf(referrers: readonly Referrer[]): ReferrersSource {
  return {
    async *list(_subject, options) {
      yield* referrers.filter(({ digest }) => digest > (options?.after ?? ''))
    },
  }
}

function manyReferrers(count: number, note = ''): Referrer[] {
  return Array.from({ length: count }, (_, index) => ({
    mediaType: mediaTypes.ociManifest,
    digest: digestOf(`${index}`),
    size: index,
    artifactType: index % 2 === 0 ? signatureType : sbomType,
    annotations: note === '' ? undefined : { note },
  })).toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
}

/** Follows `Link` from page to page. */
async function readPages(referrers: readonly Referrer[], query: string, page?: ReferrersPage): Promise<Referrer[][]> {
  const pages: Referrer[][] = []
  let url: URL | undefined = new URL(`http://test/v2/app/referrers/${subject}${query}`)
  while (url !== undefined) {
    const target: ListTarget = { path: url.pathname, query: url.searchParams }
    const { status, headers, body } = await listReferrers(sourceOf(referrers), subject, target, {}, page)
    assert.equal(status, 200)
    assert.ok(body instanceof Uint8Array)
    assert.equal(headers['content-length'], body.byteLength)
    pages.push((JSON.parse(Buffer.from(body).toString()) as { manifests: Referrer[] }).manifests)
    const next: string | undefined = /^<(.+)>; rel="next"$/.exec(String(headers['link'] ?? ''))?.[1]
    assert.equal(next === undefined, headers['link'] === undefined)
    url = next === undefined ? undefined : new URL(next, url)
    if (url !== undefined) assert.equal(url.searchParams.get('ns'), target.query.get('ns'))
  }
  return pages
}

function asSent(referrers: readonly Referrer[]): unknown {
  return JSON.parse(JSON.stringify(referrers))
}

test('P7: a long list comes in pages of 1000, each referrer once', async () => {
  const referrers = manyReferrers(2500)
  const pages = await readPages(referrers, '?ns=a%26b')
  assert.deepEqual(
    pages.map(({ length }) => length),
    [1000, 1000, 500],
  )
  assert.deepEqual(pages.flat(), asSent(referrers))
})

test('a filtered list is paged by what passes the filter', async () => {
  const referrers = manyReferrers(100)
  const page = { entries: 10, bytes: 1_000_000 }
  const pages = await readPages(referrers, `?artifactType=${encodeURIComponent(sbomType)}`, page)
  assert.deepEqual(
    pages.map(({ length }) => length),
    [10, 10, 10, 10, 10],
  )
  assert.deepEqual(pages.flat(), asSent(referrers.filter(({ artifactType }) => artifactType === sbomType)))
})

test('P7: a page is bounded in bytes, and one large referrer is sent alone', async () => {
  const referrers = manyReferrers(10, 'x'.repeat(1000))
  const pages = await readPages(referrers, '', { entries: 1000, bytes: 4000 })
  assert.deepEqual(
    pages.map(({ length }) => length),
    [3, 3, 3, 1],
  )
  assert.deepEqual(pages.flat(), asSent(referrers))
  assert.equal((await readPages(referrers, '', { entries: 1000, bytes: 10 })).length, 10)
})

async function push(url: string, name: string, reference: string, document: unknown): Promise<Response> {
  const { mediaType } = document as { mediaType: string }
  const body = new Uint8Array(bytesOf(document))
  const answer = await fetch(`${url}/v2/${name}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body,
  })
  assert.equal(answer.status, 201, await answer.text())
  return answer
}

async function startHosted(name: string): Promise<AppUnderTest> {
  const app = await startAppUnderTest({ storage: { inmemory: {}, delete: { enabled: true } } })
  const config = Buffer.from('{}')
  const stored = await fetch(`${app.url}/v2/${name}/blobs/uploads/?digest=${digestOf(config)}`, {
    method: 'POST',
    headers: { 'content-type': mediaTypes.octetStream },
    body: new Uint8Array(config),
  })
  assert.equal(stored.status, 201, await stored.text())
  return app
}

test('what is pushed with a subject is listed, filtered on demand, and gone when it is deleted', async () => {
  await using app = await startHosted('org/app')
  const signature = referrerDocument(subject, 'a')
  const sbom = referrerDocument(subject, 'b', { artifactType: sbomType })
  const { artifactType, ...plain } = referrerDocument(subject, 'c')
  assert.ok(artifactType !== undefined)
  const child = referrerDocument(subject, 'child')
  const { config, layers, artifactType: _, ...document } = referrerDocument(subject, 'd')
  assert.ok(config !== undefined && layers !== undefined)
  const index = { ...document, mediaType: mediaTypes.ociIndex, manifests: [listedAs(bytesOf(child))] }
  const all = [signature, sbom, plain, child, index]
  for (const pushed of all) {
    const answer = await push(app.url, 'org/app', digestOf(bytesOf(pushed)), pushed)
    assert.equal(answer.headers.get('oci-subject'), subject)
  }
  const expected = all
    .map((pushed) => listedAs(bytesOf(pushed)))
    .map((entry) =>
      entry.digest === digestOf(bytesOf(plain))
        ? { ...entry, artifactType: 'application/vnd.oci.empty.v1+json' }
        : entry,
    )
  const answer = await askReferrers(app.url, 'org/app', subject)
  const sorted = expected.toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
  assert.deepEqual(answer.manifests, asSent(sorted))
  assert.equal(answer.headers['oci-filters-applied'], undefined)
  assert.equal(answer.headers['link'], undefined)

  const filtered = await askReferrers(app.url, 'org/app', subject, `?artifactType=${encodeURIComponent(sbomType)}`)
  assert.deepEqual(filtered.digests, [digestOf(bytesOf(sbom))])
  assert.equal(filtered.headers['oci-filters-applied'], 'artifactType')
  const none = await askReferrers(app.url, 'org/app', subject, '?artifactType=application/vnd.other')
  assert.deepEqual(none.digests, [])
  assert.equal(none.headers['oci-filters-applied'], 'artifactType')

  const gone = digestOf(bytesOf(signature))
  assert.equal((await ask(`${app.url}/v2/org/app/manifests/${gone}`, { method: 'DELETE' })).status, 202)
  const left = sorted.map(({ digest }) => digest).filter((digest) => digest !== gone)
  assert.deepEqual((await askReferrers(app.url, 'org/app', subject)).digests, left)
})

test('sha512 names a subject and a referrer', async () => {
  await using app = await startHosted('app')
  const of = digestOf('an image', 'sha512')
  const document = referrerDocument(of, 'a')
  const digest = digestOf(bytesOf(document), 'sha512')
  await push(app.url, 'app', digest, document)
  assert.deepEqual((await askReferrers(app.url, 'app', of)).digests, [digest])
})

test('a list that clients kept under the fallback tag is part of the answer', async () => {
  await using app = await startHosted('app')
  const { subject: _, ...document } = referrerDocument(subject, 'a')
  const entry = listedAs(bytesOf(document))
  await push(app.url, 'app', entry.digest, document)
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [entry] }
  await push(app.url, 'app', fallbackTag(subject), index)
  assert.deepEqual((await askReferrers(app.url, 'app', subject)).manifests, asSent([entry]))
})

test('what was never seen has no referrers; what is no digest is refused', async () => {
  await using app = await startAppUnderTest({})
  assert.deepEqual((await askReferrers(app.url, 'never/seen', subject)).digests, [])
  assert.deepEqual((await askReferrers(app.url, 'never/seen', digestOf('x', 'sha512'))).digests, [])
  for (const malformed of ['latest', 'sha256:beef', 'sha256:', `${subject}0`]) {
    const answer = await ask(`${app.url}/v2/app/referrers/${malformed}`)
    assert.equal(answer.status, 400, malformed)
    assert.deepEqual(answer.codes, ['DIGEST_INVALID'])
  }
  for (const method of ['HEAD', 'PUT', 'DELETE']) {
    const answer = await ask(`${app.url}/v2/app/referrers/${subject}`, { method })
    assert.equal(answer.status, 405)
    assert.equal(answer.headers.allow, 'GET')
  }
})

// What becomes of the cache: told under a media type of our own, to endpoints that ask for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { ask } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { layerOf, makeKept, storeImage } from '../ledger/fixture.ts'
import { publisherTo } from './publishing.ts'
import { startSink, startTellingApp } from './sink.ts'

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const mediaType = 'application/vnd.entrepot.cache.events.v1+json'

test('fills, revalidations and stale answers are told where that is asked for', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const layer = randomBlob(100_000)
  const { manifest } = await origin.addImage('app', 'v1', [layer.bytes])
  const { size } = (await origin.repository('app').manifests.get(manifest)).descriptor
  await using sink = await startSink()
  await using app = await startTellingApp(sink, {
    endpoint: { cache: true, ignore: { actions: ['pull'] } },
    sections: {
      storage: { filesystem: { rootdirectory: folder.path } },
      proxy: { upstreams: { up: { url: origin.url, default: true } }, freshness: '0s' },
    },
  })
  const host = new URL(origin.url).host
  const common = { mediaType: ociManifest, size, digest: manifest, length: size, repository: 'up/app' }
  const get = async (path: string): Promise<void> => {
    assert.equal((await ask(`${app.url}/v2/app/${path}`, { headers: { accept: ociManifest } })).status, 200)
  }
  await get('manifests/v1')
  await get(`blobs/${layer.digest}`)
  await sink.until(3)
  await get('manifests/v1')
  await sink.until(4)
  await origin.stop()
  await get('manifests/v1')
  const told = await sink.until(5)
  assert.deepEqual(
    told.map(({ action, target, request, actor }) => ({ action, target, request, actor })),
    [
      { action: 'fill', target: { ...common, upstream: host } },
      { action: 'revalidated', target: { ...common, tag: 'v1', upstream: host } },
      {
        action: 'fill',
        target: {
          mediaType: 'application/octet-stream',
          size: 100_000,
          digest: layer.digest,
          length: 100_000,
          repository: 'up/app',
          upstream: host,
        },
      },
      { action: 'revalidated', target: { ...common, tag: 'v1', upstream: host } },
      { action: 'stale', target: { ...common, tag: 'v1', upstream: host } },
    ].map((event) => ({ ...event, request: undefined, actor: undefined })),
  )
  assert.deepEqual(new Set(sink.requests.map(({ headers }) => headers['content-type'])), new Set([mediaType]))
})

test('an endpoint that does not ask hears nothing of the cache', async () => {
  await using sink = await startSink()
  await using under = publisherTo([{ url: sink.url }])
  const repository = parseRepositoryName('a')
  under.publisher.note({ action: 'evicted', repository, digest: digestOf('a') })
  under.publish('v1')
  const told = await sink.until(1)
  assert.deepEqual(
    told.map(({ action }) => action),
    ['pull'],
  )
})

test('what is evicted is told, manifest and blobs', async () => {
  await using sink = await startSink()
  await using under = publisherTo([{ url: sink.url, cache: true }])
  await using made = await makeKept({ ttl: 3_600_000, cacheLog: under.publisher })
  const layers = [layerOf('config'), layerOf('layer')]
  const image = await storeImage(made.kept.repository('hub/app'), 'v1', layers)
  made.clocks.pass(2 * 3_600_000)
  await made.kept.evictor.run()
  const told = await sink.until(3)
  const digests = [image.digest, ...layers.map((layer) => digestOf(layer))]
  assert.deepEqual(told.map(({ target }) => String(target['digest'])).toSorted(), digests.toSorted())
  for (const { action, target } of told) {
    assert.deepEqual(
      [action, target['repository'], Object.keys(target)],
      ['evicted', 'hub/app', ['digest', 'repository']],
    )
  }
})

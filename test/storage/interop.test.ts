// A folder of distribution is ours to take over, and to give back.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { pattern } from '../drivers/conformance.ts'
import { startDockerRegistry, temporaryFolder, without } from '../support/real-parts.ts'
import { chunksOf, latest, listed, name, openStore, otherName, push } from './fixture.ts'

const layer = pattern(3 * 1024 * 1024 + 1)
const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
const image = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: {
      mediaType: 'application/vnd.docker.container.image.v1+json',
      digest: digestOf(config),
      size: config.byteLength,
    },
    layers: [
      {
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
        digest: digestOf(layer),
        size: layer.byteLength,
      },
    ],
  }),
)
const index = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifestList,
    manifests: [
      {
        mediaType: mediaTypes.dockerManifest,
        digest: digestOf(image),
        size: image.byteLength,
        platform: { architecture: 'amd64', os: 'linux' },
      },
    ],
  }),
)

async function pushBlob(url: string, bytes: Buffer): Promise<void> {
  const session = await fetch(`${url}/v2/${name}/blobs/uploads/`, { method: 'POST' })
  const location = new URL(session.headers.get('location') ?? '', url)
  location.searchParams.set('digest', digestOf(bytes))
  const headers = { 'content-type': 'application/octet-stream' }
  const stored = await fetch(location, { method: 'PUT', headers, body: new Uint8Array(bytes) })
  assert.equal(stored.status, 201, await stored.text())
}

async function pushManifest(url: string, reference: string, type: string, bytes: Buffer): Promise<void> {
  const headers = { 'content-type': type }
  const body = new Uint8Array(bytes)
  const stored = await fetch(`${url}/v2/${name}/manifests/${reference}`, { method: 'PUT', headers, body })
  assert.equal(stored.status, 201, await stored.text())
}

async function pull(url: string, path: string): Promise<{ status: number; type: string | null; digest: Digest }> {
  const accept = `${mediaTypes.dockerManifest}, ${mediaTypes.dockerManifestList}`
  const answer = await fetch(`${url}/v2/${name}/${path}`, { headers: { accept } })
  const bytes = Buffer.from(await answer.arrayBuffer())
  return { status: answer.status, type: answer.headers.get('content-type'), digest: digestOf(bytes) }
}

suite('a folder shared with distribution', { skip: without('docker-registry') }, () => {
  test('what it has stored is read here', async () => {
    await using folder = await temporaryFolder()
    const root = join(folder.path, 'data')
    {
      await using registry = await startDockerRegistry(folder, { root })
      await pushBlob(registry.url, layer)
      await pushBlob(registry.url, config)
      await pushManifest(registry.url, digestOf(image), mediaTypes.dockerManifest, image)
      await pushManifest(registry.url, latest, mediaTypes.dockerManifestList, index)
      await fetch(`${registry.url}/v2/${name}/blobs/uploads/`, { method: 'POST' }) // and never goes on
    }
    const store = openStore(filesystemDriver({ rootDirectory: root }))
    assert.deepEqual(await listed(store.list()), [name])
    const { blobs, manifests, tags, uploads } = store.repository(name)
    assert.deepEqual(await listed(tags.list()), [latest])
    const resolved = await tags.resolve(latest)
    const expected = { mediaType: mediaTypes.dockerManifestList, digest: digestOf(index), size: index.byteLength }
    assert.deepEqual(resolved, expected)
    assert.ok(index.equals((await manifests.get(resolved.digest)).bytes))
    assert.ok(image.equals((await manifests.get(digestOf(image))).bytes))
    assert.deepEqual((await listed(manifests.list())).toSorted(), [digestOf(image), digestOf(index)].toSorted())
    for (const bytes of [layer, config]) {
      const { body } = await blobs.open(digestOf(bytes))
      assert.ok((await collect(body, layer.byteLength)).equals(bytes))
      await store.repository(otherName).blobs.link(digestOf(bytes))
    }
    // It has its own files' modes and links; ours lie beside them.
    await tags.delete(latest)
    await manifests.delete(digestOf(image))
    await using upload = await uploads.create()
    await upload.append(chunksOf(layer, 100_000))
    await upload.commit(digestOf(layer))
  })

  test('what is stored here is served by it', async () => {
    await using folder = await temporaryFolder()
    const root = join(folder.path, 'data')
    const store = openStore(filesystemDriver({ rootDirectory: root }))
    const repository = store.repository(name)
    await push(repository, layer)
    await repository.blobs.put(config)
    await repository.manifests.put(image)
    await repository.manifests.put(index)
    await repository.tags.put(latest, digestOf(index))
    const left = await repository.uploads.create()
    await left.append(chunksOf(layer, 100_000))
    await left.close()
    await using fill = await store.content.receive({ digest: digestOf('unlinked') })
    await fill.append(chunksOf(Buffer.from('unlinked'), 8))
    await fill.commit(digestOf('unlinked'))

    await using registry = await startDockerRegistry(folder, { root })
    const { url } = registry
    const list = { status: 200, type: mediaTypes.dockerManifestList, digest: digestOf(index) }
    assert.deepEqual(await pull(url, `manifests/${latest}`), list)
    assert.deepEqual(await pull(url, `manifests/${digestOf(index)}`), list)
    assert.equal((await pull(url, `manifests/${digestOf(image)}`)).digest, digestOf(image))
    for (const bytes of [layer, config])
      assert.equal((await pull(url, `blobs/${digestOf(bytes)}`)).digest, digestOf(bytes))
    assert.equal((await pull(url, `blobs/${digestOf('unlinked')}`)).status, 404)
    const catalog = await (await fetch(`${url}/v2/_catalog`)).json()
    assert.deepEqual(catalog, { repositories: [name] })
    const tags = await (await fetch(`${url}/v2/${name}/tags/list`)).json()
    assert.deepEqual(tags, { name, tags: [latest] })
    // It goes on where we were.
    await pushManifest(url, 'again', mediaTypes.dockerManifestList, index)
    await pushBlob(url, Buffer.from('its own'))
    assert.equal((await repository.blobs.stat(digestOf('its own'))).size, 7)
    assert.deepEqual(await listed(repository.tags.list()), ['again', latest])
  })
})

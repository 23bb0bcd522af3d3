// The instance that caches the rest also holds what people push to it, with the clients they have.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask } from '../support/client.ts'
import { podmanCopy, skopeoCopy, skopeoCopyBetween, skopeoDelete, startContainerd } from '../support/real-clients.ts'
import { builderPrograms, imageBuilder, tags } from '../support/real-image.ts'
import { startDockerRegistry, startEntrepot, temporaryFolder, without } from '../support/real-parts.ts'

test(
  'buildah, skopeo, podman and containerd push to a hosted repository beside cached ones, and pull it back',
  { skip: without('docker-registry', 'skopeo', 'podman', 'containerd', ...builderPrograms), timeout: 120_000 },
  async (t) => {
    await using folder = await temporaryFolder()
    await using upstream = await startDockerRegistry(folder, { root: join(folder.path, 'upstream') })
    await using entrepot = await startEntrepot(
      folder,
      `version: 0.1
storage: { filesystem: { rootdirectory: ${join(folder.path, 'entrepot')} }, delete: { enabled: true } }
http: { addr: 127.0.0.1:0 }
proxy: { upstreams: { up.test: { url: ${upstream.url}, default: true } }, freshness: 0s }
`,
    )
    const builder = await imageBuilder(folder)
    await builder.push(upstream.host, 'team/greeting', 'hello from upstream')
    const hosted = `${entrepot.host}/local/greeting`

    await t.test('buildah pushes images and an index, and skopeo pulls them back', async () => {
      await builder.push(entrepot.host, 'local/greeting', 'hello from here')
      for (const tag of tags) {
        const copy = await skopeoCopy(`${hosted}:${tag}`)
        assert.ok(Object.keys(copy).length > 3, tag)
      }
    })

    await t.test('skopeo copies a cached image into a hosted repository, unchanged', async () => {
      const cached = `${entrepot.host}/team/greeting:index`
      await skopeoCopyBetween(cached, `${hosted}:copied`)
      assert.deepEqual(await skopeoCopy(`${hosted}:copied`), await skopeoCopy(cached))
    })

    await t.test('podman pushes what it pulled', async () => {
      await podmanCopy(`${hosted}:docker`, `${hosted}:from-podman`)
      assert.ok((await skopeoCopy(`${hosted}:from-podman`))['manifest.json'] !== undefined)
    })

    await t.test('containerd pushes what it pulled, and runs it', async () => {
      await using containerd = await startContainerd({ 'up.test': entrepot.url, [entrepot.host]: entrepot.url })
      await containerd.pull(`${hosted}:docker`)
      await containerd.push(`${hosted}:docker`, `${hosted}:from-containerd`)
      await containerd.pull(`${hosted}:from-containerd`)
      assert.equal(await containerd.runOnce(`${hosted}:from-containerd`), 'hello from here')
    })

    await t.test('a push to a repository that an upstream claims is refused with a sentence', async () => {
      await assert.rejects(skopeoCopyBetween(`${hosted}:oci`, `${entrepot.host}/team/greeting:mine`))
      const answer = await ask(`${entrepot.url}/v2/team/greeting/blobs/uploads/`, { method: 'POST' })
      assert.equal(answer.status, 405)
      assert.match(answer.body.toString(), /copy of a repository of up\.test/)
    })

    await t.test('skopeo deletes a hosted image, and a cached one, which the next pull brings back', async () => {
      await skopeoDelete(`${hosted}:copied`)
      assert.equal((await ask(`${entrepot.url}/v2/local/greeting/manifests/copied`)).status, 404)
      const cached = `${entrepot.host}/team/greeting:oci`
      const before = await skopeoCopy(cached)
      await skopeoDelete(cached)
      assert.deepEqual(await skopeoCopy(cached), before)
    })

    await t.test('what was pushed is still there with the upstream stopped', async () => {
      await upstream.stop()
      for (const tag of tags) await skopeoCopy(`${hosted}:${tag}`)
    })
    assert.equal(await entrepot.stop(), 0)
  },
)

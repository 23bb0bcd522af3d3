// What people do: real images in real registries, pulled through entrepot with the clients they have, also when the
// registries are gone.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { podmanPull, skopeoCopy, startContainerd } from '../support/real-clients.ts'
import { builderPrograms, imageBuilder, tags } from '../support/real-image.ts'
import { startDockerRegistry, startEntrepot, temporaryFolder, without, type Registry } from '../support/real-parts.ts'

const repository = 'team/greeting'

/** Every GET of a blob that reached a registry. */
function blobFetches(registry: Registry): string[] {
  const found = registry.process.output().matchAll(/"GET \/v2\/[^ ]+\/blobs\/(sha256:[0-9a-f]{64})[^ ]* HTTP/g)
  return [...found].map(([, digest = '']) => digest)
}

test(
  'skopeo, podman and containerd pull from two upstreams through one mirror, and again when both are gone',
  { skip: without('docker-registry', 'skopeo', 'podman', 'containerd', ...builderPrograms), timeout: 120_000 },
  async (t) => {
    await using folder = await temporaryFolder()
    const root = (name: string): string => join(folder.path, name)
    await using one = await startDockerRegistry(folder, { root: root('one') })
    await using two = await startDockerRegistry(folder, { root: root('two') })
    await using entrepot = await startEntrepot(
      folder,
      `version: 0.1
storage: { filesystem: { rootdirectory: ${root('entrepot')} } }
http: { addr: 127.0.0.1:0 }
proxy:
  freshness: 0s
  upstreams:
    one.test: { url: ${one.url}, default: true }
    two.test: { url: ${two.url} }
`,
    )
    const builder = await imageBuilder(folder)
    await builder.push(one.host, repository, 'hello from one')
    await builder.push(two.host, repository, 'hello from two')
    const upstreams = { 'one.test': one, 'two.test': two }
    const expected = new Map<string, Record<string, string>>()
    for (const [name, { host }] of Object.entries(upstreams)) {
      for (const tag of tags)
        expected.set(`${name}/${repository}:${tag}`, await skopeoCopy(`${host}/${repository}:${tag}`))
    }
    const fetchedBefore = { one: blobFetches(one).length, two: blobFetches(two).length }

    await t.test('six skopeo at once copy the same new image', async () => {
      const image = `two.test/${repository}:index`
      const copies = await Promise.all(
        Array.from({ length: 6 }, async () => await skopeoCopy(`${entrepot.host}/${image}`)),
      )
      for (const copy of copies) assert.deepEqual(copy, expected.get(image))
    })
    await pullEverything(t, 'while the upstreams run')

    await t.test('no blob was fetched twice from any upstream', () => {
      const fetched = [...blobFetches(one).slice(fetchedBefore.one), ...blobFetches(two).slice(fetchedBefore.two)]
      assert.ok(fetched.length > 0)
      assert.deepEqual(fetched.toSorted(), [...new Set(fetched)].toSorted())
    })

    await one.stop()
    await two.stop()
    const linesBefore = entrepot.lines().length
    await pullEverything(t, 'with both upstreams stopped')

    await t.test('all blobs then came from our own storage', () => {
      const blobs = entrepot
        .lines()
        .slice(linesBefore)
        .filter(({ kind }) => kind === 'blob')
      assert.ok(blobs.length > 0)
      for (const line of blobs) assert.equal(line['from'], 'local')
    })
    assert.equal(await entrepot.stop(), 0)

    async function pullEverything(context: TestContext, when: string): Promise<void> {
      await context.test(`skopeo copies every image with all its platforms ${when}`, async () => {
        for (const [image, content] of expected)
          assert.deepEqual(await skopeoCopy(`${entrepot.host}/${image}`), content)
        const unnamed = `${repository}:oci`
        assert.deepEqual(await skopeoCopy(`${entrepot.host}/${unnamed}`), expected.get(`one.test/${unnamed}`))
      })
      await context.test(`podman pulls through the mirror of its registries.conf ${when}`, async () => {
        for (const [name, image] of [
          ['one.test', `${repository}:docker`],
          ['two.test', `${repository}:index`],
        ] as const) {
          const digests = await podmanPull(name, `${entrepot.host}/${name}`, image)
          const digest = expected.get(`${name}/${image}`)?.['manifest.json']
          assert.ok(digests.includes(`sha256:${digest}`), `${name}/${image}: ${digest} is not among ${digests.join()}`)
        }
      })
      // Nothing but `ns=` tells the two upstreams apart here: both have a repository of that name.
      await context.test(`containerd pulls by ns= from the upstream it means, and runs what came ${when}`, async () => {
        await using containerd = await startContainerd({ 'one.test': entrepot.url, 'two.test': entrepot.url })
        for (const image of expected.keys()) await containerd.pull(image)
        assert.equal(await containerd.runOnce(`one.test/${repository}:docker`), 'hello from one')
        assert.equal(await containerd.runOnce(`two.test/${repository}:index`), 'hello from two')
      })
    }
  },
)

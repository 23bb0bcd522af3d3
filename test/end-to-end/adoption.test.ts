// A folder of distribution's is taken over in place, and one of ours can be given back to it.
import assert from 'node:assert/strict'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { skopeoCopy } from '../support/real-clients.ts'
import { builderPrograms, imageBuilder, tags } from '../support/real-image.ts'
import {
  startDockerRegistry,
  startEntrepot,
  temporaryFolder,
  until,
  without,
  type Folder,
  type Registry,
} from '../support/real-parts.ts'

const repository = 'team/greeting'
const options = { skip: without('docker-registry', 'skopeo', ...builderPrograms), timeout: 60_000 }

type Content = Record<string, Record<string, string>>

/** Everything that a registry serves of the repository: tag → file → sha256. */
async function contentOf({ host }: Registry): Promise<Content> {
  const content: Content = {}
  for (const tag of tags) content[tag] = await skopeoCopy(`${host}/${repository}:${tag}`)
  return content
}

function config(root: string, proxyUrl?: string): string {
  const lines = [
    'version: 0.1',
    `storage: { filesystem: { rootdirectory: ${root} } }`,
    'http: { addr: 127.0.0.1:0 }',
    ...(proxyUrl === undefined ? [] : [`proxy: { remoteurl: ${proxyUrl} }`]),
  ]
  return lines.join('\n')
}

async function startFilledUpstream(folder: Folder): Promise<Registry & { root: string }> {
  const root = join(folder.path, 'upstream')
  const upstream = await startDockerRegistry(folder, { root })
  const builder = await imageBuilder(folder)
  await builder.push(upstream.host, repository, 'hello')
  return { ...upstream, root }
}

test(
  'T-104: a folder that was pushed to distribution is served in place, alone and as the cache of a dead upstream',
  options,
  async () => {
    await using folder = await temporaryFolder()
    await using upstream = await startFilledUpstream(folder)
    const expected = await contentOf(upstream)
    await upstream.stop()
    for (const proxyUrl of [undefined, upstream.url]) {
      await using entrepot = await startEntrepot(folder, config(upstream.root, proxyUrl))
      assert.deepEqual(await contentOf(entrepot), expected)
      const list = await fetch(`${entrepot.url}/v2/${repository}/tags/list`)
      assert.deepEqual(await list.json(), { name: repository, tags: tags.toSorted() })
    }
  },
)

test(
  'T-104: a folder that distribution filled by pull-through is served in place with the upstream gone',
  options,
  async () => {
    await using folder = await temporaryFolder()
    await using upstream = await startFilledUpstream(folder)
    const root = join(folder.path, 'cache')
    await using cache = await startDockerRegistry(folder, { root, proxyUrl: upstream.url })
    const expected = await contentOf(cache)
    // distribution stores what it passes on in its own time.
    const layers = join(root, 'docker/registry/v2/repositories', repository, '_layers/sha256')
    const names = Object.values(expected).flatMap((files) => Object.keys(files))
    for (const hex of names.filter((name) => /^[0-9a-f]{64}$/.test(name))) {
      await until(`distribution stores ${hex}`, async () => await exists(join(layers, hex, 'link')))
    }
    await cache.stop()
    await upstream.stop()
    await using entrepot = await startEntrepot(folder, config(root, upstream.url))
    assert.deepEqual(await contentOf(entrepot), expected)
  },
)

test('T-104: a folder that entrepot filled by pull-through is served by distribution', options, async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startFilledUpstream(folder)
  const root = join(folder.path, 'entrepot')
  await using entrepot = await startEntrepot(folder, config(root, upstream.url))
  const expected = await contentOf(entrepot)
  assert.deepEqual(expected, await contentOf(upstream))
  assert.equal(await entrepot.stop(), 0)
  await upstream.stop()
  await using distribution = await startDockerRegistry(folder, { root })
  assert.deepEqual(await contentOf(distribution), expected)
})

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}

import assert from 'node:assert/strict'
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { blobPath, blobsRoot, damagedPath, linkPath, tagCurrentPath } from '../../src/storage/layout.ts'
import { latest, openStore } from '../storage/fixture.ts'
import { image, index, layer, pushImage } from '../storage/garbage-fixture.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { command } from '../support/command.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'

const hosted = parseRepositoryName('local/app')
const copied = parseRepositoryName('up/org/app')

interface Prepared extends AsyncDisposable {
  readonly config: string
  readonly root: string
  readonly ours: WritableRepository
  readonly copy: WritableRepository
  /** Where a path of the driver is. */
  readonly place: (path: string) => string
}

/** A hosted repository with a tagged image, and a copy of which not everything was pulled. */
async function prepare(): Promise<Prepared> {
  const folder = await temporaryFolder()
  const root = join(folder.path, 'data')
  const config = join(folder.path, 'config.yml')
  const proxy = 'proxy: { upstreams: { up: { url: "http://127.0.0.1:9", default: true } } }'
  await writeFile(config, `version: 0.1\nstorage: { filesystem: { rootdirectory: ${root} } }\n${proxy}\n`)
  const store = openStore(filesystemDriver({ rootDirectory: root }))
  const ours = store.repository(hosted)
  await ours.tags.put(latest, digestOf(await pushImage(ours, ['config', 'a'])))
  const copy = store.repository(copied)
  const child = image(['config', 'never pulled'])
  await copy.manifests.put(child)
  await copy.tags.put(latest, (await copy.manifests.put(index([child, image(['other'])]))).descriptor.digest)
  const place = (path: string): string => join(root, path)
  return {
    config,
    root,
    ours,
    copy,
    place,
    [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose](),
  }
}

test('a storage in which all is right is told so, and copies need not be whole', async () => {
  await using stored = await prepare()
  const { code, stdout, stderr } = await command(['verify', stored.config])
  assert.deepEqual([code, stderr], [0, ''])
  const counts = /^5 blobs \(\d+ bytes\), 2 repositories, 3 manifests, 2 tags: all is right \(2 manifests of copies /
  assert.match(stdout, counts)
})

const manifest = digestOf(image(['config', 'a']))
const layerA = digestOf(layer('a'))

/** Each thing that can be wrong, and what is said of it. */
const troubles: readonly (readonly [what: string, make: (stored: Prepared) => Promise<unknown>, says: RegExp[]])[] = [
  [
    'a blob with wrong bytes',
    async ({ place }) => await writeFile(place(blobPath(layerA)), layer('b')),
    [new RegExp(`^blob ${layerA} is damaged$`, 'm'), new RegExp(`^local/app: blob ${layerA} is damaged$`, 'm')],
  ],
  [
    'an empty blob',
    async ({ place }) => await truncate(place(blobPath(layerA)), 0),
    [new RegExp(`^blob ${layerA} is damaged$`, 'm')],
  ],
  [
    'a folder in the place of a blob',
    async ({ place }) => {
      await rm(place(blobPath(layerA)))
      await mkdir(place(blobPath(layerA)))
    },
    [new RegExp(`^blob ${layerA} is not a file$`, 'm')],
  ],
  [
    'a blob that is gone',
    async ({ place }) => await rm(place(blobPath(layerA))),
    [
      new RegExp(`^local/app: blob ${layerA} is linked, but not stored$`, 'm'),
      new RegExp(`^local/app: manifest ${manifest} names ${layerA}, which is not here$`, 'm'),
    ],
  ],
  [
    'a manifest with wrong bytes',
    async ({ place }) => await writeFile(place(blobPath(manifest)), '{}'),
    [new RegExp(`^local/app: manifest ${manifest} is damaged$`, 'm')],
  ],
  [
    'a manifest that is none',
    async ({ ours, place }) => {
      const { digest } = await ours.blobs.put(Buffer.from('no manifest'))
      const link = place(linkPath(hosted, 'manifests', digest))
      await mkdir(join(link, '..'), { recursive: true })
      await writeFile(link, digest)
    },
    [/^local\/app: manifest sha256:\S+ is not understood: the document is not JSON$/m],
  ],
  [
    'a link of a blob that is empty',
    async ({ place }) => await truncate(place(linkPath(hosted, 'blobs', layerA)), 0),
    [new RegExp(`^local/app: the link of blob ${layerA} is damaged$`, 'm')],
  ],
  [
    'a link of a blob that names another one',
    async ({ place }) => await writeFile(place(linkPath(hosted, 'blobs', layerA)), digestOf(layer('config'))),
    [new RegExp(`^local/app: the link of blob ${layerA} is damaged$`, 'm')],
  ],
  [
    'a link of a blob that is gone',
    async ({ place }) => await rm(place(linkPath(hosted, 'blobs', layerA))),
    [new RegExp(`^local/app: manifest ${manifest} names ${layerA}, which is not here$`, 'm')],
  ],
  [
    'a link of a manifest that is gone',
    async ({ place }) => await rm(place(linkPath(hosted, 'manifests', manifest))),
    [new RegExp(`^local/app: tag latest names ${manifest}, which is not here$`, 'm')],
  ],
  [
    'a tag that is garbage, also of a copy',
    async ({ place }) => {
      await writeFile(place(tagCurrentPath(hosted, latest)), 'garbage')
      await writeFile(place(tagCurrentPath(copied, latest)), '')
    },
    [/^local\/app: tag latest is damaged$/m, /^up\/org\/app: tag latest is damaged$/m],
  ],
  [
    'an index whose child is not here',
    async ({ ours, place }) => {
      const child = await pushImage(ours, ['config', 'child'])
      await ours.manifests.put(index([child]))
      await rm(place(linkPath(hosted, 'manifests', digestOf(child))))
    },
    [/^local\/app: manifest sha256:\S+ names sha256:\S+, which is not here$/m],
  ],
]

for (const [what, make, says] of troubles) {
  test(`it finds ${what}, changes nothing, and exits with 1`, async () => {
    await using stored = await prepare()
    await make(stored)
    const { code, stdout, stderr } = await command(['verify', stored.config])
    assert.equal(code, 1)
    for (const sentence of says) assert.match(stderr, sentence)
    const lines = stderr.trimEnd().split('\n').length
    assert.match(stdout, new RegExp(`: ${lines} problems? found`), stderr)
    assert.deepEqual(await filesystemDriver({ rootDirectory: stored.root }).list('/entrepot/tmp'), [])
    const again = await command(['verify', '-q', stored.config])
    assert.deepEqual(again, { code: 1, stdout, stderr: '' })
  })
}

test('of a registry that was only started nothing is missing; where there are blobs, repositories are', async () => {
  await using folder = await temporaryFolder()
  const sections = { storage: { filesystem: { rootdirectory: folder.path } } }
  const config = join(folder.path, 'config.yml')
  await writeFile(config, JSON.stringify({ version: 0.1, ...sections }))
  {
    await using app = await startAppUnderTest(sections)
    assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  }
  await mkdir(join(folder.path, blobsRoot), { recursive: true })
  const begun = await command(['verify', config])
  assert.deepEqual([begun.code, begun.stderr], [0, ''])
  assert.match(begun.stdout, /^0 blobs \(0 bytes\), 0 repositories, .*: all is right/)
  const driver = filesystemDriver({ rootDirectory: folder.path })
  await driver.write(blobPath(digestOf('a')), Buffer.from('a'))
  const { code, stderr } = await command(['verify', config])
  assert.equal(code, 1)
  assert.match(stderr, /^\/docker\/registry\/v2\/repositories cannot be read: .+\n$/)
})

test('what is left of deletions and of an upload is no problem', async () => {
  await using stored = await prepare()
  const { ours } = stored
  const gone = await pushImage(ours, ['config', 'gone'])
  await ours.tags.put(parseTag('gone'), digestOf(gone))
  await ours.tags.delete(parseTag('gone'))
  await ours.manifests.delete(digestOf(gone))
  await ours.blobs.delete(digestOf(layer('gone')))
  await (await ours.uploads.create()).close()
  await rm(stored.place(blobPath(digestOf(layer('gone')))))
  const { code, stderr } = await command(['verify', stored.config])
  assert.deepEqual([code, stderr], [0, ''])
})

test('P6: --set-aside moves damaged blobs away, and a running server fetches them anew', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const { manifest: tagged, layers } = await origin.addImage('org/app', 'v1', [randomBlob(200_000).bytes])
  const [digest = digestOf('')] = layers
  const sections = {
    storage: { filesystem: { rootdirectory: folder.path } },
    proxy: { upstreams: { up: { url: origin.url, default: true } } },
  }
  await using app = await startAppUnderTest(sections)
  const config = join(folder.path, 'config.yml')
  await writeFile(config, JSON.stringify({ version: 0.1, ...sections }))
  const url = `${app.url}/v2/org/app/blobs/${digest}`
  await pull(`${app.url}/v2/org/app/manifests/v1`)
  await pull(url)
  while (!app.lines.some(({ msg }) => msg === 'fill stored')) await new Promise(setImmediate)
  const file = join(folder.path, blobPath(digest))
  const bytes = await readFile(file)
  bytes[100_000] = ~(bytes[100_000] ?? 0)
  await writeFile(file, bytes)
  await writeFile(join(folder.path, blobPath(tagged)), '{}')
  const { code, stdout, stderr } = await command(['verify', '--set-aside', config])
  assert.equal(code, 1)
  assert.match(stdout, /2 blobs set aside/)
  for (const one of [digest, tagged]) {
    assert.match(stderr, new RegExp(`^blob ${one} is damaged, and set aside$`, 'm'))
    await readFile(join(folder.path, damagedPath(one)))
  }
  const healed = await pull(url)
  assert.deepEqual([healed.status, healed.digest, healed.complete], [200, digest, true])
})

test('at a terminal one line shows how far it is, and is gone at the end', async () => {
  await using stored = await prepare()
  const { stderr } = await command(['verify', stored.config], true)
  assert.match(stderr, /^\r\u001B\[K\[[#.]{20}\] [^\r]*(?:\r\u001B\[K[^\r]+)*\r\u001B\[K$/) // oxlint-disable-line no-control-regex -- a terminal's own words
  assert.doesNotMatch(stderr, /\n/)
  assert.equal((await command(['verify', '--quiet', stored.config], true)).stderr, '')
})

test('P10: what cannot be done is one line, and exit code 1', async () => {
  await using folder = await temporaryFolder()
  const inMemory = join(folder.path, 'memory.yml')
  await writeFile(inMemory, 'version: 0.1\nstorage: inmemory\n')
  const empty = join(folder.path, 'empty.yml')
  await writeFile(empty, `version: 0.1\nstorage: { filesystem: { rootdirectory: ${folder.path}/none } }\n`)
  for (const config of [inMemory, empty]) {
    const { code, stdout, stderr } = await command(['verify', config])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /^verify: .*nothing to verify\n$/)
  }
})

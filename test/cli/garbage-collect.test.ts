import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { blobPath } from '../../src/storage/layout.ts'
import { latest, name, openStore } from '../storage/fixture.ts'
import { assertWhole, layer, pushImage } from '../storage/garbage-fixture.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { command } from '../support/command.ts'
import { startDockerRegistry, temporaryFolder as folderForRegistry, without } from '../support/real-parts.ts'

interface Prepared {
  readonly config: string
  readonly root: string
  /** The manifest of the untagged image. */
  readonly untagged: Buffer
}

/** A folder with a tagged image, an untagged one and an unnamed blob; and its config.yml. */
async function prepare(folder: string): Promise<Prepared> {
  const root = join(folder, 'data')
  const config = join(folder, 'config.yml')
  await writeFile(config, `version: 0.1\nstorage: { filesystem: { rootdirectory: ${root} } }\n`)
  const repository = openStore(filesystemDriver({ rootDirectory: root })).repository(name)
  await repository.tags.put(latest, digestOf(await pushImage(repository, ['config', 'a'])))
  const untagged = await pushImage(repository, ['config', 'b'])
  await repository.blobs.put(layer('c'))
  return { config, root, untagged }
}

test('it says what would go, then removes it, and what is tagged stays', async () => {
  await using folder = await temporaryFolder()
  const { config, root, untagged } = await prepare(folder.path)
  const driver = filesystemDriver({ rootDirectory: root })
  const counts = /^1 repository, 1 manifest, 3 blobs marked; 1 manifest, 3 blobs \(\d+ bytes\) /
  const dry = await command(['garbage-collect', config, '--dry-run', '--delete-untagged', '--grace', '0s'])
  assert.equal(dry.code, 0)
  assert.match(dry.stdout, new RegExp(`${counts.source}would be deleted\n$`))
  const blobs = [layer('b'), layer('c'), untagged].map((bytes) => `blob ${digestOf(bytes)} (${bytes.length} bytes)`)
  const doomed = [`${name}: manifest ${digestOf(untagged)}`, ...blobs].map((one) => `${one} would be deleted`)
  assert.deepEqual(dry.stderr.trimEnd().split('\n').toSorted(), doomed.toSorted())
  assert.equal((await command(['garbage-collect', config, '-dmq', '--grace', '0s'])).stderr, '')
  await driver.stat(blobPath(digestOf(layer('c'))))
  const done = await command(['garbage-collect', '-m', '-q', '--grace=0s', config])
  assert.deepEqual([done.code, done.stderr], [0, ''])
  assert.match(done.stdout, new RegExp(`${counts.source}deleted\n$`))
  await assert.rejects(driver.stat(blobPath(digestOf(layer('c')))))
  const repository = openStore(driver).repository(name)
  await assertWhole(repository, (await repository.tags.resolve(latest)).digest)
})

test('a switch is also taken in the words of Go, of two the last one', async () => {
  await using folder = await temporaryFolder()
  const { config } = await prepare(folder.path)
  for (const [switches, outcome] of [
    ['--delete-untagged=true --dry-run=1', / 1 manifest, 3 blobs \(\d+ bytes\) would be deleted\n$/],
    ['-d=true -m=t -m=false', / 0 manifests, 1 blob \(\d+ bytes\) would be deleted\n$/],
    ['-d --delete-untagged=F', / 0 manifests, 1 blob \(\d+ bytes\) would be deleted\n$/],
    ['-m -d --dry-run=FALSE -q=true', / 1 manifest, 3 blobs \(\d+ bytes\) deleted\n$/],
  ] as const) {
    const { code, stdout } = await command(['garbage-collect', ...switches.split(' '), '--grace=0s', config])
    assert.equal(code, 0, switches)
    assert.match(stdout, outcome, switches)
  }
  assert.equal((await command(['garbage-collect', '--dry-run=perhaps', config])).code, 2)
})

test('without a grace of its own it leaves the last hour alone', async () => {
  await using folder = await temporaryFolder()
  const { config } = await prepare(folder.path)
  const { code, stdout } = await command(['garbage-collect', config])
  assert.equal(code, 0)
  assert.match(stdout, / 0 manifests, 0 blobs \(0 bytes\) deleted\n$/)
})

test('at a terminal one line shows how far it is, and is gone at the end', async () => {
  await using folder = await temporaryFolder()
  const { config } = await prepare(folder.path)
  const { stderr } = await command(['garbage-collect', config], true)
  assert.match(stderr, /^\r\u001B\[K.*\r\u001B\[K$/) // oxlint-disable-line no-control-regex -- a terminal's own words
  assert.doesNotMatch(stderr, /\n/)
  assert.equal((await command(['garbage-collect', '--quiet', config], true)).stderr, '')
})

test('P10: what cannot be done is one line, and exit code 1', async () => {
  await using folder = await temporaryFolder()
  const inMemory = join(folder.path, 'memory.yml')
  await writeFile(inMemory, 'version: 0.1\nstorage: inmemory\n')
  const empty = join(folder.path, 'empty.yml')
  await writeFile(empty, `version: 0.1\nstorage: { filesystem: { rootdirectory: ${folder.path}/none } }\n`)
  const wrong = join(folder.path, 'wrong.yml')
  await writeFile(wrong, 'version: 0.1\nstorage: inmemory\nhttp: { adr: 1 }\n')
  for (const [config, message] of [
    [inMemory, /in memory.*nothing to collect/],
    [empty, /nothing to collect/],
    [wrong, /configuration error: http\.adr/],
  ] as const) {
    const { code, stdout, stderr } = await command(['garbage-collect', config])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, message)
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
  }
  assert.equal((await command(['garbage-collect', inMemory, '--grace', 'soon'])).code, 2)
})

test('distribution serves what is left', { skip: without('docker-registry') }, async () => {
  await using folder = await folderForRegistry()
  const { config, root } = await prepare(folder.path)
  assert.equal((await command(['garbage-collect', '-m', '--grace', '0s', config])).code, 0)
  await using registry = await startDockerRegistry(folder, { root })
  const accept = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = await fetch(`${registry.url}/v2/${name}/manifests/${latest}`, { headers: { accept } })
  assert.equal(manifest.status, 200)
  for (const [text, status] of [
    ['config', 200],
    ['a', 200],
    ['b', 404],
    ['c', 404],
  ] as const) {
    const blob = await fetch(`${registry.url}/v2/${name}/blobs/${digestOf(layer(text))}`)
    assert.equal(blob.status, status, text)
    await blob.arrayBuffer()
  }
})

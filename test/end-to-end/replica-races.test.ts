// T-50: two servers and a collection of garbage on one folder, at the same object, at the same time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { collectGarbage, GarbageError } from '../../src/storage/garbage/collect.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Image } from '../support/origin.ts'
import { seeded, type Random } from '../support/seeded.ts'

const rounds = Number(process.env['ROUNDS'] ?? 150)

const name = 'app'

/** As a client does: the tag, the manifest that it names, and what that names, whatever happens meanwhile. */
async function pullImage(url: string, image: Image): Promise<void> {
  const byTag = await pull(`${url}/v2/${name}/manifests/v1`)
  assert.deepEqual([byTag.status, byTag.complete, byTag.digest], [200, true, image.manifest])
  const head = await ask(`${url}/v2/${name}/manifests/${image.manifest}`, { method: 'HEAD' })
  assert.equal(head.status, 200)
  for (const digest of [image.config, ...image.layers]) {
    const seen = await ask(`${url}/v2/${name}/blobs/${digest}`, { method: 'HEAD' })
    assert.equal(seen.status, 200)
    const blob = await pull(`${url}/v2/${name}/blobs/${digest}`)
    assert.deepEqual([blob.status, blob.complete, blob.digest], [200, true, digest])
  }
}

/** Gone, or gone already. */
async function remove(random: Random, url: string, image: Image): Promise<void> {
  const path = random.pick([
    `manifests/v1`,
    `manifests/${image.manifest}`,
    ...[image.config, ...image.layers].map((digest) => `blobs/${digest}`),
  ])
  const { status, body } = await ask(`${url}/v2/${name}/${path}`, { method: 'DELETE' })
  assert.ok(status === 202 || status === 404, `${status} ${body.toString()}`)
}

async function collect(root: string, deleteUntagged: boolean): Promise<void> {
  const descriptors = descriptorCache(openFactStore({ kind: 'none' }, silentLogger))
  const options = { driver: filesystemDriver({ rootDirectory: root }), descriptors, deleteUntagged }
  try {
    await collectGarbage({ ...options, grace: 0, dryRun: false })
  } catch (error) {
    if (!(error instanceof GarbageError)) throw error // another one runs
  }
}

test('T-50, P1: two servers fill, delete and collect one image again and again: each pull has all of it, and right', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const image = await origin.addImage(name, 'v1', [randomBlob(200_000).bytes, randomBlob(100).bytes])
  const start = async (): Promise<AppUnderTest> =>
    await startAppUnderTest({
      storage: { filesystem: { rootdirectory: folder.path }, delete: { enabled: true } },
      proxy: { remoteurl: origin.url, freshness: '0s' },
    })
  await using first = await start()
  await using second = await start()
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  const counts = { pulls: 0, removals: 0, collections: 0 }
  for (let round = 0; round < rounds; round++) {
    const random = seeded(seed + round)
    const tasks = Array.from({ length: 2 + random.int(5) }, async () => {
      const { url } = random.pick([first, second])
      const kind = random.int(8)
      for (let turns = random.int(20); turns > 0; turns--) await new Promise(setImmediate)
      if (kind < 4) {
        counts.pulls++
        await pullImage(url, image)
      } else if (kind < 7) {
        counts.removals++
        await remove(random, url, image)
      } else {
        counts.collections++
        await collect(folder.path, random.oneIn(2))
      }
    })
    const failed = (await Promise.allSettled(tasks)).find(({ status }) => status === 'rejected')
    if (failed?.status === 'rejected')
      throw new Error(`run it again with SEED=${seed + round}`, { cause: failed.reason })
  }
  assert.ok(Math.min(counts.pulls, counts.removals, counts.collections) > 0, JSON.stringify(counts))
  for (const { text } of [first, second]) assert.doesNotMatch(text(), /"level":"error"/)
})

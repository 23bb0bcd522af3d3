// The worked example of docs/middleware.md does what it says, as it stands there.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { startOrigin } from '../support/origin.ts'
import { until } from '../support/proxy-under-test.ts'

const root = resolve(import.meta.dirname, '../..')
const page = readFileSync(join(root, 'docs/middleware.md'), 'utf8')
const policy = /```ts\n(.*?)```/s.exec(page)?.[1] ?? ''
const section = [...page.matchAll(/```yaml\n(.*?)```/gs)]
  .map(([, yaml = '']) => yaml)
  .find((one) => one.includes('./policy.ts'))

test('the example of docs/middleware.md decides as it says', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'policy.ts')
  await writeFile(path, policy)
  await using hub = await startOrigin()
  await using harbor = await startOrigin()
  await hub.addImage('library/alpine', 'latest', [])
  const pinned = await hub.addImage('library/alpine', '3.22.1', [])
  const base = await harbor.addImage('platform/base/node', 'latest', [])
  await using app = await startAppUnderTest({
    ...(parse((section ?? '').replace('./policy.ts', path)) as Record<string, unknown>),
    proxy: {
      freshness: '0s',
      upstreams: {
        'docker.io': { url: hub.url, default: true, library: true },
        harbor: { url: harbor.url },
      },
    },
  })
  const latest = await ask(`${app.url}/v2/alpine/manifests/latest`)
  assert.deepEqual([latest.status, latest.codes], [403, ['DENIED']])
  assert.match(latest.body.toString(), /name a version: latest is not pulled here/)
  for (let times = 0; times < 2; times++) {
    const answer = await ask(`${app.url}/v2/alpine/manifests/3.22.1`)
    assert.deepEqual([answer.status, answer.headers['docker-content-digest']], [200, pinned.manifest])
  }
  assert.equal(hub.seen.filter((line) => line.startsWith('HEAD ')).length, 1, 'a version is fresh')
  const routed = await ask(`${app.url}/v2/base/node/manifests/latest`)
  assert.equal(routed.headers['docker-content-digest'], base.manifest)
  assert.equal((await ask(`${app.url}/v2/attic/old/manifests/latest`)).status, 404)
  const lines = async (): Promise<string[]> => {
    const text = await readFile(join(folder.path, 'pulls.jsonl'), 'utf8').catch(() => '') // not there yet
    return text.trim().split('\n')
  }
  await until(async () => (await lines()).length === 3)
  const pulls = (await lines()).map((line) => JSON.parse(line) as { repository: string; reference: string })
  assert.deepEqual(pulls.map(({ repository, reference }) => `${repository}:${reference}`).toSorted(), [
    'docker.io/library/alpine:3.22.1',
    'docker.io/library/alpine:3.22.1',
    'harbor/platform/base/node:latest',
  ])
})

test('the example of docs/middleware.md is right by the types that it imports', async () => {
  await using folder = await temporaryFolder()
  const tsc = async (source: string): Promise<unknown> => {
    const path = join(folder.path, 'policy.ts')
    await writeFile(path, source.replace('/opt/entrepot', root))
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
    const settings = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--target',
      'esnext',
      '--module',
      'preserve',
      '--allowImportingTsExtensions',
    ]
    return await promisify(execFile)(join(root, 'node_modules/.bin/tsc'), [...settings, ...types, path])
  }
  await tsc(policy)
  await assert.rejects(tsc(policy.replace('allow: true', 'alow: true')), { stdout: /alow/ })
})

import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { checkout, startProcess } from '../support/real-parts.ts'
import { serveUntil } from '../support/serve-until.ts'

/** Says at the end, in a line of its own, what was loaded: our modules and packages, and Node's own. */
const witness = `import { registerHooks } from 'node:module'
const loaded = []
registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })
process.on('exit', () => process.stderr.write(\`\\nloaded \${JSON.stringify([...loaded, ...process.moduleLoadList])}\\n\`))`

/** What a server needs only where it is configured, or asked for. Each is a good part of the time that a start takes. */
const rare = [
  /node_modules\/undici\//,
  /internal\/deps\/undici\/undici$/, // Node's own: an import of node:http loads it
  /node_modules\/pino-pretty\//,
  /node_modules\/(?:@keyv\/redis|prom-client|@opentelemetry|jose|bcrypt|nodemailer)\//,
  /src\/(?:ledger\/evictor|maintenance|storage\/garbage\/collect|events\/publisher|metrics\/metrics|auth\/open)\.ts$/,
  /NativeModule sqlite$/,
]

test('a start loads nothing that only some need', { timeout: 30_000 }, async () => {
  await using folder = await temporaryFolder()
  const config = join(folder.path, 'config.yml')
  const upstreams = { up: { url: 'http://127.0.0.1:1', default: true } }
  const storage = { filesystem: { rootdirectory: join(folder.path, 'data') } }
  // Offline: what asks upstreams is loaded a little later elsewhere.
  const proxy = { offline: true, upstreams }
  await writeFile(config, JSON.stringify({ version: 0.1, storage, http: { addr: '127.0.0.1:0' }, proxy }))
  const hook = `data:text/javascript,${encodeURIComponent(witness)}`
  const args = ['--import', hook, 'src/main.ts', 'serve', config]
  await using server = await startProcess(process.execPath, args, { cwd: checkout })
  const [, url = ''] = await server.waitFor(/"url":"([^"]+)"[^\n]*"listening"/)
  assert.equal((await ask(`${url}/v2/`)).status, 200)
  await server.stop()
  const [, list = ''] = await server.waitFor(/\nloaded (\[.*\])\n/)
  const loaded = JSON.parse(list) as string[]
  assert.ok(loaded.some((name) => name.endsWith('src/app.ts')))
  for (const pattern of rare) {
    assert.deepEqual(
      loaded.filter((name) => pattern.test(name)),
      [],
      String(pattern),
    )
  }
})

/** What the log says, up to the line that a server is asked to end at. */
async function logOf(folder: string, last: string, maintenance?: object): Promise<Record<string, unknown>[]> {
  const config = join(folder, 'config.yml')
  const storage = { filesystem: { rootdirectory: join(folder, 'data') }, maintenance }
  await writeFile(config, JSON.stringify({ version: 0.1, storage, http: { addr: '127.0.0.1:0' } }))
  const { code, log } = await serveUntil(`"${last}"`, config)
  assert.equal(code, 0)
  const lines = log.trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
}

test('what is stored is told when the server already listens', { timeout: 30_000 }, async () => {
  await using folder = await temporaryFolder()
  for (const name of ['a', 'b/c']) {
    await put(join(folder.path, 'data/docker/registry/v2/repositories', name, '_manifests/tags/v1/current/link'), '')
  }
  const lines = await logOf(folder.path, 'storage looked at')
  assert.deepEqual(
    lines.map(({ msg, stored }) => [msg, stored]),
    [
      ['listening', undefined],
      ['storage looked at', '2 repositories'],
      ['draining', undefined],
      ['stopped', undefined],
    ],
  )
})

test('P9: repositories that cannot be listed are no reason not to start', { timeout: 30_000 }, async () => {
  await using folder = await temporaryFolder()
  const tree = join(folder.path, 'data/docker/registry/v2')
  await mkdir(tree, { recursive: true })
  await symlink('repositories', join(tree, 'repositories'))
  // Read-only: where a server writes, it also says sooner or later that it cannot.
  const lines = await logOf(folder.path, 'storage cannot be looked at', { readonly: { enabled: true } })
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [
      ['info', 'listening'],
      ['warn', 'storage cannot be looked at'],
      ['info', 'draining'],
      ['info', 'stopped'],
    ],
  )
})

test('a server that is asked to end while it looks at what is stored ends at once, and says nothing of it', async () => {
  await using folder = await temporaryFolder()
  for (let number = 0; number < 300; number += 1) {
    await mkdir(join(folder.path, 'data/docker/registry/v2/repositories', String(number)), { recursive: true })
  }
  const lines = await logOf(folder.path, 'listening')
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    ['listening', 'draining', 'stopped'],
  )
})

// The process as a whole: how it ends when it is asked to, and what is left when it is not.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { lightPull } from '../support/light-client.ts'
import {
  checkout,
  entrepotAt,
  startEntrepot,
  startProcess,
  temporaryFolder,
  without,
  type Entrepot,
  type Folder,
} from '../support/real-parts.ts'

interface SlowOrigin extends AsyncDisposable {
  readonly url: string
  readonly path: string
  readonly bytes: Buffer
  /** Lets it send the second half of every answer. */
  release(): void
}

/** Has one blob. It sends the first half and waits. */
async function startSlowOrigin(): Promise<SlowOrigin> {
  const bytes = randomBytes(4 * 1024 * 1024)
  const path = `/v2/slow/blobs/sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const released = Promise.withResolvers<void>()
  const server = createServer((request, response) => {
    if (request.url !== path) return void response.writeHead(request.url === '/v2/' ? 200 : 404).end()
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const range = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': bytes.length - start, ...(start > 0 ? range : {}) })
    if (request.method === 'HEAD') return void response.end()
    response.write(bytes.subarray(start, Math.max(start, bytes.length / 2)))
    void released.promise.then(() => response.end(bytes.subarray(Math.max(start, bytes.length / 2))))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    url: `http://127.0.0.1:${address.port}`,
    path,
    bytes,
    release: () => released.resolve(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function mirrorConfig(folder: Folder, origin: SlowOrigin, drainTimeout = '20s'): string {
  return `version: 0.1
storage: { filesystem: { rootdirectory: ${folder.path}/data } }
http: { addr: 127.0.0.1:0, draintimeout: ${drainTimeout} }
proxy: { remoteurl: "${origin.url}" }
`
}

async function startMirror(folder: Folder, origin: SlowOrigin, drainTimeout?: string): Promise<Entrepot> {
  return await startEntrepot(folder, mirrorConfig(folder, origin, drainTimeout))
}

async function readRest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    chunks.push(value)
  }
}

test('T-101: SIGTERM lets a running answer end, takes no new ones, and exits with 0', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  await using origin = await startSlowOrigin()
  await using entrepot = await startMirror(folder, origin)
  const { body } = await fetch(entrepot.url + origin.path)
  assert.ok(body !== null)
  const reader = body.getReader()
  const { value } = await reader.read()
  const stopping = entrepot.stop()
  await entrepot.process.waitFor(/"draining"/)
  await assert.rejects(fetch(`${entrepot.url}/v2/`))
  origin.release()
  assert.ok(Buffer.concat([value ?? Buffer.of(), await readRest(reader)]).equals(origin.bytes))
  assert.equal(await stopping, 0)
})

test('T-101: an idle process exits with 0 on SIGINT too', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  await using origin = await startSlowOrigin()
  await using entrepot = await startMirror(folder, origin)
  assert.equal((await fetch(`${entrepot.url}/v2/`)).status, 200)
  assert.equal(await entrepot.process.stop('SIGINT'), 0)
})

test(
  'T-101: SIGTERM under load lets every answer end, and leaves nothing of the fill that the next start cannot use',
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    await using origin = await startSlowOrigin()
    await using entrepot = await startMirror(folder, origin)
    const clients = Array.from({ length: 40 }, () => lightPull(entrepot.url + origin.path))
    await Promise.all(clients.map(async ({ firstByte }) => await firstByte))
    const stopping = entrepot.stop()
    await entrepot.process.waitFor(/"draining"/)
    origin.release()
    for (const { done } of clients) {
      const { complete, digest } = await done
      assert.ok(complete && origin.path.endsWith(digest))
    }
    assert.equal(await stopping, 0)
    const left = await readdir(join(folder.path, 'data/entrepot/fills'))
    assert.ok(
      left.every((name) => name.includes('.kept.')),
      left.join(' '),
    )
    assert.equal(entrepot.lines().filter(({ msg }) => msg === 'request').length, 40, 'each has its line')
  },
)

test(
  'T-101: when the time to drain is over, answers are cut and the fill is kept for the next start',
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    await using origin = await startSlowOrigin()
    await using entrepot = await startMirror(folder, origin, '0s')
    const client = lightPull(entrepot.url + origin.path)
    await client.firstByte
    assert.equal(await entrepot.stop(), 0)
    assert.equal((await client.done).complete, false)
    const left = await readdir(join(folder.path, 'data/entrepot/fills'))
    assert.ok(left.every((name) => name.includes('.kept.')) && left.length <= 1, left.join(' '))
    origin.release()
    await using next = await startMirror(folder, origin)
    const { complete, digest } = await lightPull(next.url + origin.path).done
    assert.ok(complete && origin.path.endsWith(digest))
  },
)

test('T-101: a second signal ends it at once', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  await using origin = await startSlowOrigin()
  await using entrepot = await startMirror(folder, origin, '1h')
  const client = lightPull(entrepot.url + origin.path)
  await client.firstByte
  const stopping = entrepot.stop()
  await entrepot.process.waitFor(/"draining"/)
  process.kill(entrepot.process.pid, 'SIGINT')
  assert.equal(await stopping, 1)
  assert.equal((await client.done).complete, false)
})

const signals: Readonly<Record<string, (pid: number) => boolean>> = {
  'npm alone, as by a supervisor': (pid) => process.kill(pid, 'SIGTERM'),
  'npm and all that it has started, as by Ctrl-C': (pid) => process.kill(-pid, 'SIGINT'),
}

for (const [what, send] of Object.entries(signals)) {
  test(
    `T-101: a signal to ${what} lets a running answer end, and leaves no server behind`,
    { skip: without('npm', 'setsid'), timeout: 60_000 },
    async () => {
      await using folder = await temporaryFolder()
      await using origin = await startSlowOrigin()
      const config = await folder.write('config.yml', mirrorConfig(folder, origin))
      const words = ['npm', 'start', '--silent', '--', 'serve', config]
      await using npm = await startProcess('setsid', words, { cwd: checkout })
      const { url } = await entrepotAt(npm)
      const client = lightPull(url + origin.path)
      await client.firstByte
      send(npm.pid)
      await npm.waitFor(/"draining"/)
      origin.release()
      const { complete, digest } = await client.done
      assert.ok(complete && origin.path.endsWith(digest))
      await npm.waitFor(/"stopped"/)
      await npm.ended()
    },
  )
}

const faults: Readonly<Record<string, string>> = {
  'an exception that nobody caught': "throw new Error('injected fault')",
  'a rejection that nobody handled': "void Promise.reject(new Error('injected fault'))",
  'a rejection with no error': 'void Promise.reject()',
}

for (const [what, fault] of Object.entries(faults)) {
  test(
    `T-105, P9: ${what} is logged, running answers end, and the exit code says it`,
    { timeout: 60_000 },
    async () => {
      await using folder = await temporaryFolder()
      await using origin = await startSlowOrigin()
      const config = await folder.write('config.yml', mirrorConfig(folder, origin))
      const injected = await folder.write('fault.mjs', `process.on('SIGUSR2', () => { ${fault} })\n`)
      const args = ['--import', injected, 'src/main.ts', 'serve', config]
      await using entrepot = await entrepotAt(await startProcess(process.execPath, args, { cwd: checkout }))
      const client = lightPull(entrepot.url + origin.path)
      await client.firstByte
      process.kill(entrepot.process.pid, 'SIGUSR2')
      await entrepot.process.waitFor(/"draining"/)
      process.kill(entrepot.process.pid, 'SIGUSR2') // said once
      origin.release()
      const { complete, digest } = await client.done
      assert.ok(complete && origin.path.endsWith(digest))
      assert.equal(await entrepot.process.ended(), 1)
      const failures = entrepot.lines().filter(({ level }) => level === 'error')
      assert.deepEqual(
        failures.map(({ msg }) => msg),
        ['unexpected failure: the server ends'],
      )
      if (fault.includes('Error')) assert.match(JSON.stringify(failures[0]?.['error']), /injected fault.*fault\.mjs/)
    },
  )
}

test('killed in the middle of a fill, it starts again and serves the whole blob', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  await using origin = await startSlowOrigin()
  await using killed = await startMirror(folder, origin)
  const { body } = await fetch(killed.url + origin.path)
  assert.ok(body !== null)
  const reader = body.getReader()
  await reader.read()
  assert.equal(await killed.process.stop('SIGKILL'), null)
  await assert.rejects(readRest(reader), 'an answer that was cut must not look whole')
  origin.release()
  await using entrepot = await startMirror(folder, origin)
  const response = await fetch(entrepot.url + origin.path)
  assert.equal(response.status, 200)
  assert.ok(Buffer.from(await response.arrayBuffer()).equals(origin.bytes))
})

test('P9: a log that nobody reads any more is no reason to stop serving', async () => {
  await using folder = await temporaryFolder()
  const config = await folder.write('config.yml', 'version: 0.1\nstorage: inmemory\nhttp: { addr: 127.0.0.1:0 }\n')
  const child = spawn(process.execPath, ['src/main.ts', 'serve', config], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  try {
    let log = ''
    for await (const chunk of child.stdout) {
      log += String(chunk)
      if (log.includes('"listening"')) break // and the pipe is closed
    }
    const url = /"url":"([^"]+)"/.exec(log)?.[1] ?? ''
    for (let request = 0; request < 3; request += 1) assert.equal((await fetch(`${url}/v2/`)).status, 200)
  } finally {
    child.kill('SIGTERM')
  }
  if (child.exitCode === null) await once(child, 'exit')
  assert.equal(child.exitCode, 0)
})

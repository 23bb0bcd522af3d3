// T-102: the configuration is read again, and one that is wrong changes nothing.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { run } from '../../src/cli/run.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { startOrigin } from '../support/origin.ts'
import { startEntrepot, temporaryFolder as processFolder } from '../support/real-parts.ts'
import { serveUntil } from '../support/serve-until.ts'

interface Serving extends AsyncDisposable {
  readonly url: string
  /** Writes the file anew and asks for it to be read; the lines that are logged until it is. */
  reload(sections: Record<string, unknown>): Promise<Record<string, unknown>[]>
}

async function serve(folder: string, sections: Record<string, unknown>): Promise<Serving> {
  const path = join(folder, 'config.yml')
  const write = async (more: Record<string, unknown>): Promise<void> =>
    await writeFile(
      path,
      JSON.stringify({
        version: 0.1,
        storage: { inmemory: {} },
        http: { addr: '127.0.0.1:0', draintimeout: '0s' },
        ...more,
      }),
    )
  await write(sections)
  const stop = new AbortController()
  const hangUp = new EventTarget()
  const lines: Record<string, unknown>[] = []
  let look = (): void => {}
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).trim().split('\n')) lines.push(JSON.parse(line) as Record<string, unknown>)
      look()
      done()
    },
  })
  const until = async (from: number, message: RegExp): Promise<Record<string, unknown>> =>
    await new Promise((resolve) => {
      look = () => {
        const found = lines.slice(from).find(({ msg }) => message.test(String(msg)))
        if (found !== undefined) resolve(found)
      }
      look()
    })
  const failed = new AbortController().signal
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() })
  const ended = run(['serve', path], { stdout, stderr, env: {}, cwd: folder, signal: stop.signal, failed, hangUp })
  const { url } = await until(0, /^listening$/)
  await until(0, /^storage looked at$/)
  return {
    url: String(url),
    async reload(next) {
      await write(next)
      const from = lines.length
      hangUp.dispatchEvent(new Event('reload'))
      await until(from, /^configuration (?:read again|is wrong)/)
      return lines.slice(from).filter(({ msg }) => msg !== 'request')
    },
    async [Symbol.asyncDispose]() {
      stop.abort('SIGTERM')
      assert.equal(await ended, 0)
    },
  }
}

test('T-102: what can change does, for what is asked from then on', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const seen: unknown[] = []
  await origin.addImage('app', 'v1', [])
  const sections = (freshness: string, password: string): Record<string, unknown> => ({
    proxy: { upstreams: { up: { url: origin.url, default: true, freshness, username: 'me', password } } },
  })
  await using server = await serve(folder.path, sections('1h', 'first'))
  const asked = async (): Promise<number> => {
    const before = origin.seen.length
    assert.equal((await pull(`${server.url}/v2/app/manifests/v1`)).status, 200)
    return origin.seen.length - before
  }
  assert.ok((await asked()) > 0)
  assert.equal(await asked(), 0)
  origin.dial = ({ headers }) => {
    seen.push(headers.authorization)
    if (headers.authorization !== undefined) return undefined
    return { reply: { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } } }
  }
  const lines = await server.reload(sections('0s', 'second'))
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    ['configuration read again'],
  )
  assert.ok((await asked()) > 0)
  assert.deepEqual(seen.at(-1), `Basic ${Buffer.from('me:second').toString('base64')}`)
  await server.reload(sections('1h', 'second'))
  assert.equal(await asked(), 0)
})

test('T-102: the level of the log changes, and what needs a restart is named', async () => {
  await using folder = await temporaryFolder()
  await using server = await serve(folder.path, { log: { level: 'info' } })
  const lines = await server.reload({ log: { level: 'debug' }, tags: { maxtags: 7 }, catalog: { maxentries: 9 } })
  assert.deepEqual(
    lines.map(({ level, msg, sections }) => [level, msg, sections]),
    [
      ['warn', 'what has changed there waits for a restart', ['catalog', 'tags']],
      ['info', 'configuration read again', undefined],
    ],
  )
})

test('T-102: who asks before the server is there is heard when it is', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'config.yml')
  const http = { addr: '127.0.0.1:0', draintimeout: '0s' }
  await writeFile(path, JSON.stringify({ version: 0.1, storage: { inmemory: {} }, http }))
  const stop = new AbortController()
  const hangUp = new EventTarget()
  const ended = serveUntil('configuration read again', path, { stop, hangUp })
  const isForNobody = hangUp.dispatchEvent(new Event('reload', { cancelable: true }))
  if (isForNobody) stop.abort('SIGHUP')
  assert.equal((await ended).code, 0)
  assert.equal(isForNobody, false)
})

test('T-102: a configuration that is wrong changes nothing, and is told in one line', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  await origin.addImage('app', 'v1', [])
  const upstreams = { up: { url: origin.url, default: true, freshness: '1h' } }
  await using server = await serve(folder.path, { proxy: { upstreams } })
  assert.equal((await pull(`${server.url}/v2/app/manifests/v1`)).status, 200)
  const before = origin.seen.length
  const lines = await server.reload({
    log: { level: 'error' },
    proxy: { upstreams: { up: { ...upstreams.up, freshness: '0s' } }, negative: 'soon' },
  })
  assert.equal(lines.length, 1)
  assert.deepEqual([lines[0]?.['level'], lines[0]?.['msg']], ['error', 'configuration is wrong: the old one stays'])
  assert.match(String(lines[0]?.['reason']), /^proxy\.negative: found "soon", expected a duration[^\n]*$/)
  assert.equal((await pull(`${server.url}/v2/app/manifests/v1`)).status, 200)
  assert.equal(origin.seen.length, before)
  assert.equal((await server.reload({ proxy: { upstreams } })).at(-1)?.['msg'], 'configuration read again')
})

test(
  'T-102: a process that is sent SIGHUP reads its configuration again and serves on',
  { timeout: 60_000 },
  async () => {
    await using folder = await processFolder()
    const config = (level: string): string =>
      `version: 0.1\nlog: { level: ${level} }\nstorage: inmemory\nhttp: { addr: 127.0.0.1:0 }\n`
    await using entrepot = await startEntrepot(folder, config('info'))
    process.kill(entrepot.process.pid, 'SIGHUP')
    await entrepot.process.waitFor(/"configuration read again"/)
    assert.equal((await ask(`${entrepot.url}/v2/`)).status, 200)
    assert.equal(await entrepot.process.stop(), 0)
  },
)

import assert from 'node:assert/strict'
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { AuthFile } from '../../src/upstream/auth-file.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { canary, name } from './fixture.ts'

function auth(text: string): { auth: string } {
  return { auth: Buffer.from(text).toString('base64') }
}

async function temporaryFolder(): Promise<AsyncDisposable & { path: string; write(text: string): Promise<string> }> {
  const path = await mkdtemp(join(tmpdir(), 'entrepot-auth-'))
  const file = join(path, 'config.json')
  return {
    path,
    async write(text: string): Promise<string> {
      await writeFile(`${file}.new`, text)
      await rename(`${file}.new`, file) // another inode: seen even within one tick of the file system's clock
      return file
    },
    [Symbol.asyncDispose]: async () => await rm(path, { recursive: true, force: true }),
  }
}

/** Puts `docker-credential-<suffix>` programs on the PATH of this test's process. */
async function helperPrograms(folder: string, programs: Record<string, string>): Promise<void> {
  for (const [suffix, output] of Object.entries(programs)) {
    const program = join(folder, `docker-credential-${suffix}`)
    await writeFile(program, `#!/bin/sh\nread server\nprintf '%s' '${output}' | sed "s|SERVER|$server|"\n`)
    await chmod(program, 0o755)
  }
  process.env['PATH'] = `${folder}${delimiter}${process.env['PATH'] ?? ''}`
}

test('a credentials file is read again when it changes', async () => {
  await using folder = await temporaryFolder()
  const path = await folder.write(JSON.stringify({ auths: { 'r.example': auth('u:one') } }))
  const file = new AuthFile({ path, host: 'r.example', logger: silentLogger })
  assert.deepEqual(await file.get(name), { kind: 'password', username: 'u', password: 'one' })
  await folder.write(JSON.stringify({ auths: { 'r.example': auth('u:two') } }))
  assert.deepEqual(await file.get(name), { kind: 'password', username: 'u', password: 'two' })
})

test('P9: a credentials file that is torn leaves what it said before in use', async () => {
  await using folder = await temporaryFolder()
  const recording = recordingLogger()
  const path = await folder.write(JSON.stringify({ auths: { 'r.example': auth(`u:${canary}`) } }))
  const file = new AuthFile({ path, host: 'r.example', logger: recording.logger })
  await file.get(name)
  await folder.write(`{"auths":{"r.example":{"password":"${canary}`)
  assert.deepEqual(await file.get(name), { kind: 'password', username: 'u', password: canary })
  assert.match(recording.text(), /what it said last is used/)
  assert.ok(!recording.text().includes(canary))
})

test('P7: a credentials file that cannot be read is said so once for each change', async () => {
  await using folder = await temporaryFolder()
  const { logger, lines } = recordingLogger()
  const good = JSON.stringify({ auths: { 'r.example': auth('u:p') } })
  const path = await folder.write(good)
  const file = new AuthFile({ path, host: 'r.example', logger })
  const told = async (): Promise<number> => {
    for (let request = 0; request < 3; request += 1) await file.get(name)
    return lines.length
  }
  assert.equal(await told(), 0)
  await folder.write('{')
  assert.equal(await told(), 1)
  await folder.write('{"')
  assert.equal(await told(), 2)
  await rm(path)
  assert.equal(await told(), 3)
  await folder.write(good)
  assert.equal(await told(), 3)
  await rm(path)
  assert.equal(await told(), 4)
})

test('a credentials file that is not there is an error', async () => {
  const file = new AuthFile({ path: '/nonexistent/config.json', host: 'r.example', logger: silentLogger })
  await assert.rejects(file.get(name), { name: 'CredentialsError' })
})

test('a registry without an entry is asked anonymously', async () => {
  await using folder = await temporaryFolder()
  const path = await folder.write(JSON.stringify({ auths: { 'other.example': auth('u:p') } }))
  const file = new AuthFile({ path, host: 'r.example', logger: silentLogger })
  assert.deepEqual(await file.get(name), { kind: 'anonymous' })
})

const posix = process.platform === 'win32' ? { skip: 'helper programs are shell scripts here' } : {}

test("a registry's own helper comes before the store, and the store before the entries", posix, async () => {
  await using folder = await temporaryFolder()
  await helperPrograms(folder.path, {
    own: '{"Username":"own SERVER","Secret":"p"}',
    all: '{"Username":"all SERVER","Secret":"p"}',
    none: '{"Username":"","Secret":""}',
  })
  const cases: Array<{ config: object; host: string; username: string }> = [
    {
      config: { credHelpers: { 'r.example': 'own' }, credsStore: 'all' },
      host: 'r.example',
      username: 'own r.example',
    },
    {
      config: { credHelpers: { 'x.example': 'own' }, credsStore: 'all' },
      host: 'r.example',
      username: 'all r.example',
    },
    { config: { credsStore: 'none' }, host: 'r.example', username: 'entry' },
    {
      config: { credHelpers: { 'docker.io': 'own' } },
      host: 'registry-1.docker.io',
      username: 'own https://index.docker.io/v1/',
    },
  ]
  for (const { config, host, username } of cases) {
    const path = await folder.write(JSON.stringify({ ...config, auths: { 'r.example': auth('entry:p') } }))
    const file = new AuthFile({ path, host, logger: silentLogger })
    assert.deepEqual(await file.get(name), { kind: 'password', username, password: 'p' })
  }
})

test('P8: a helper whose name is a path is not run', async () => {
  await using folder = await temporaryFolder()
  const path = await folder.write(JSON.stringify({ credsStore: '../../bin/sh' }))
  const file = new AuthFile({ path, host: 'r.example', logger: silentLogger })
  await assert.rejects(file.get(name), { name: 'CredentialsError' })
})

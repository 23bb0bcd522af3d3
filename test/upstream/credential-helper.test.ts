import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  CredentialHelper,
  dockerHelperCommand,
  parseCommand,
  type CredentialHelperOptions,
} from '../../src/upstream/credential-helper.ts'
import { canary } from './fixture.ts'

/** A helper that is a line of JavaScript; `input` and `args` are what it was given. */
function helper(code: string, options: Partial<CredentialHelperOptions> = {}): CredentialHelper {
  const program = `const input = require('fs').readFileSync(0, 'utf8'), args = process.argv.slice(1); ${code}`
  return new CredentialHelper({ command: [process.execPath, '-e', program], server: 'r.example', ...options })
}

test('a helper is given the server and the verb, and answers with a password', async () => {
  const echo = helper('console.log(JSON.stringify({ Username: input, Secret: args.join() }))')
  assert.deepEqual(await echo.get(), { kind: 'password', username: 'r.example', password: 'get' })
})

test('the user name <token> marks an identity token', async () => {
  const token = helper('console.log(JSON.stringify({ Username: "<token>", Secret: "it" }))')
  assert.deepEqual(await token.get(), { kind: 'identity-token', token: 'it' })
})

test('a helper that knows no credentials gives anonymous access', async () => {
  const empty = helper('console.log("credentials not found in native keychain"); process.exitCode = 1')
  assert.deepEqual(await empty.get(), { kind: 'anonymous' })
})

test('a helper that ignores its input is heard nevertheless', async () => {
  const command = [process.execPath, '-e', 'console.log(JSON.stringify({ Username: "u", Secret: "p" }))']
  const deaf = new CredentialHelper({ command, server: 'x'.repeat(1_000_000) })
  assert.equal((await deaf.get()).kind, 'password')
})

const broken: ReadonlyArray<[string, CredentialHelper]> = [
  ['fails', helper(`console.log("${canary}"); process.exitCode = 3`)],
  ['writes no JSON', helper(`console.log("${canary}")`)],
  ['writes other JSON', helper(`console.log('{"Secret":"${canary}"}')`)],
  ['writes without end', helper(`setInterval(() => console.log("${canary}".repeat(5000)), 1)`)],
  ['never ends', helper('setInterval(() => {}, 1000)', { timeout: 300 })],
  ['does not exist', new CredentialHelper({ command: ['/nonexistent/helper', canary], server: 'r' })],
  ['has no command', new CredentialHelper({ command: [], server: 'r' })],
]

for (const [why, source] of broken) {
  test(`P7, P8: a helper that ${why} is an error that gives nothing away`, async () => {
    await assert.rejects(source.get(), (error: Error) => {
      assert.equal(error.name, 'CredentialsError')
      for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
        assert.ok(!cause.message.includes(canary))
      }
      return true
    })
  })
}

test('an answer is remembered for its lifetime, and forgotten where it was refused', async () => {
  await using folder = await temporaryFolder()
  const tally = join(folder.path, 'tally')
  const code = `require('fs').appendFileSync(${JSON.stringify(tally)}, 'x'); console.log('{"Username":"u","Secret":"p"}')`
  const runs = async (): Promise<number> => (await readFile(tally, 'utf8')).length
  const known = { kind: 'password', username: 'u', password: 'p' } as const
  let now = 0
  const source = helper(code, { lifetime: 100_000, clock: () => now })
  await Promise.all([source.get(), source.get(), source.get()])
  assert.equal(await runs(), 1)
  now = 99_999
  await source.get()
  assert.equal(await runs(), 1)
  now = 100_000
  await source.get()
  assert.equal(await runs(), 2)
  now = 129_999
  source.refused(known) // it has just answered
  await source.get()
  assert.equal(await runs(), 2)
  now = 130_000
  source.refused({ ...known, password: 'another' })
  await source.get()
  assert.equal(await runs(), 2)
  source.refused(known)
  await source.get()
  assert.equal(await runs(), 3)

  const never = helper(code, { lifetime: 0 })
  await never.get()
  await never.get()
  assert.equal(await runs(), 5)
})

test('who has no credentials yet may log in: the helper is asked again after half a minute', async () => {
  await using folder = await temporaryFolder()
  const login = join(folder.path, 'login')
  const code = `try { console.log(require('fs').readFileSync(${JSON.stringify(login)}, 'utf8')) } catch {
    console.log('credentials not found in native keychain'); process.exitCode = 1 }`
  let now = 0
  const source = helper(code, { clock: () => now })
  assert.deepEqual(await source.get(), { kind: 'anonymous' })
  await writeFile(login, '{"Username":"u","Secret":"p"}')
  now = 29_999
  assert.deepEqual(await source.get(), { kind: 'anonymous' })
  for (now of [30_000, 10_000_000]) {
    assert.deepEqual(await source.get(), { kind: 'password', username: 'u', password: 'p' })
  }
})

test('P7: a helper that fails is not started again for half a minute', async () => {
  await using folder = await temporaryFolder()
  const tally = join(folder.path, 'tally')
  const code = `require('fs').appendFileSync(${JSON.stringify(tally)}, 'x'); process.exitCode = 3`
  let now = 0
  const source = helper(code, { lifetime: 0, clock: () => now })
  for (now of [0, 1, 29_999, 30_000]) await assert.rejects(source.get(), { name: 'CredentialsError' })
  assert.equal((await readFile(tally, 'utf8')).length, 2)
})

test('a command line is split at white space, and meant for no shell', () => {
  assert.deepEqual(parseCommand('  /bin/helper  --x "$(id)" '), ['/bin/helper', '--x', '"$(id)"'])
})

test('P8: a helper suffix cannot be a path', () => {
  assert.deepEqual(dockerHelperCommand('ecr-login'), ['docker-credential-ecr-login'])
  for (const suffix of ['', '../x', 'a/b', 'a b', 'a;id', '$(id)']) {
    assert.throws(() => dockerHelperCommand(suffix), { name: 'CredentialsError' })
  }
})

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'entrepot-helper-'))
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true, force: true }) }
}

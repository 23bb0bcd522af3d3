// Users and passwords from a file.
import bcrypt from 'bcrypt'
import assert from 'node:assert/strict'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Controller } from '../../src/auth/controller.ts'
import { HtpasswdController } from '../../src/auth/htpasswd.ts'
import { parseHtpasswd } from '../../src/auth/htpasswd-file.ts'
import { PasswordChecks } from '../../src/auth/password-checks.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'
import { basic, htpasswdOf } from './fixture.ts'

interface Opened extends Recording {
  readonly file: string
  readonly compared: { readonly password: string; readonly hash: string }[]
  /** Sets the clock so far ahead that the file is looked at again. */
  readonly later: () => void
  readonly userOf: (authorization: string | undefined) => Promise<string>
}

async function openFile(context: TestContext, text: string): Promise<Opened> {
  const folder = await temporaryFolder()
  context.after(async () => await folder[Symbol.asyncDispose]())
  const file = join(folder.path, 'htpasswd')
  await writeFile(file, text)
  const recording = recordingLogger()
  const compared: { password: string; hash: string }[] = []
  let now = 0
  const controller: Controller = await HtpasswdController.open({
    realm: 'ours',
    path: file,
    logger: recording.logger,
    clock: () => now,
    compare: async (password, hash) => {
      compared.push({ password: password.toString(), hash })
      return await bcrypt.compare(password, hash)
    },
  })
  return {
    ...recording,
    file,
    compared,
    later: () => (now += 1000),
    async userOf(authorization) {
      const verdict = await controller.verify({ authorization, address: undefined, host: undefined }, [])
      return 'user' in verdict ? verdict.user : `(${verdict.reason})`
    },
  }
}

test('bcrypt lines count, in all three spellings; comments and blanks do not; other hashes never match', async (context) => {
  const hash = await bcrypt.hash('p', 4)
  const spelt = (prefix: string): string => hash.replace('$2b$', prefix)
  const text = `# people\r\n\r\n  a:${spelt('$2a$')}\nb:${spelt('$2b$')}\r\ny:${spelt('$2y$')}\nm:$apr1$x$y\np:p\ns:{SHA}x\nt:${hash.slice(0, -1)}`
  const { userOf, lines } = await openFile(context, text)
  for (const user of ['a', 'b', 'y']) assert.equal(await userOf(basic(user, 'p')), user)
  for (const user of ['m', 'p', 's', 't', '# people', '']) {
    assert.equal(await userOf(basic(user, 'p')), '(wrong user or password)')
  }
  assert.deepEqual(
    lines.map(({ msg, lines: count }) => [msg, count]),
    [['passwords that are not hashed by bcrypt never match', 4]],
  )
  assert.throws(() => parseHtpasswd('a:b\nasecret'), { name: 'HtpasswdError', message: 'line 2 has no colon' })
})

test('what is no Basic header names nobody', async (context) => {
  const { userOf, compared } = await openFile(context, await htpasswdOf('me'))
  const right = basic('me', 'me-password')
  assert.equal(await userOf(right), 'me')
  assert.equal(await userOf(right.replace('Basic', 'bAsIc')), 'me')
  compared.length = 0
  assert.equal(await userOf(undefined), '(no credentials)')
  const none = ['Basic', 'Basic ', right.slice(6), `Bearer ${right.slice(6)}`, `${right}!`, `${right} x`, 'Basic bWU=']
  for (const header of [...none, `Basic ${'A'.repeat(5000)}`]) {
    assert.equal(await userOf(header), '(not basic credentials)', header.slice(0, 40))
  }
  assert.deepEqual(compared, [])
})

test('T-87: an unknown user costs the same comparison as a known one', async (context) => {
  const { userOf, compared } = await openFile(context, await htpasswdOf('me'))
  assert.equal(await userOf(basic('me', 'wrong')), '(wrong user or password)')
  assert.equal(await userOf(basic('you', 'wrong')), '(wrong user or password)')
  const [known, unknown] = compared
  assert.equal(compared.length, 2)
  assert.equal(unknown?.password, known?.password)
  assert.equal(unknown?.hash.slice(0, 7), known?.hash.slice(0, 7)) // as many rounds
  assert.equal(unknown?.hash.length, known?.hash.length)
  assert.notEqual(unknown?.hash, known?.hash)
})

test('T-87: a password that bcrypt would cut is refused, and so is one with a NUL', async (context) => {
  const long = 'x'.repeat(72)
  const text = `long:${await bcrypt.hash(long, 4)}\nzero:${await bcrypt.hash('a\0b', 4)}`
  const { userOf, compared } = await openFile(context, text)
  assert.equal(await userOf(basic('long', long)), 'long')
  assert.equal(await userOf(basic('long', `${long}y`)), '(wrong user or password)')
  assert.equal(await userOf(basic('zero', 'a\0b')), '(wrong user or password)')
  assert.equal(compared.length, 2) // the longer one is known from the shorter by its beginning
})

test('T-87: where hashes are not all equally dear, nobody can tell by that who is unknown', async (context) => {
  const costs = [4, 5, 4, 6]
  const lines = costs.map(async (cost, index) => `user${index}:${await bcrypt.hash('x', cost)}`)
  const { userOf, compared } = await openFile(context, (await Promise.all(lines)).join('\n'))
  const costOf = async (name: string): Promise<string> => {
    assert.equal(await userOf(basic(name, `wrong${compared.length}`)), '(wrong user or password)')
    return compared.at(-1)?.hash.slice(4, 6) ?? ''
  }
  const seen = new Map<string, string>()
  for (let index = 0; index < 100; index += 1) seen.set(`nobody${index}`, await costOf(`nobody${index}`))
  assert.deepEqual([...new Set(seen.values())].toSorted(), ['04', '05', '06'])
  for (const [name, cost] of seen) assert.equal(await costOf(name), cost)
})

test('a password that was right is not compared again, a wrong one is', async (context) => {
  const { userOf, compared } = await openFile(context, await htpasswdOf('me'))
  for (let time = 0; time < 3; time += 1) assert.equal(await userOf(basic('me', 'me-password')), 'me')
  assert.equal(compared.length, 1)
  await Promise.all(Array.from({ length: 3 }, async () => await userOf(basic('me', 'wrong'))))
  assert.equal(compared.length, 2) // at once: one comparison
  await userOf(basic('me', 'wrong'))
  assert.equal(compared.length, 3)
})

test('T-85: a user who is taken out of the file, or gets another password, is out at once when the file is looked at', async (context) => {
  const { userOf, file, later } = await openFile(context, await htpasswdOf('me', 'you'))
  assert.equal(await userOf(basic('me', 'me-password')), 'me')
  assert.equal(await userOf(basic('you', 'you-password')), 'you')
  await writeFile(file, `you:${await bcrypt.hash('another', 4)}`)
  later()
  assert.equal(await userOf(basic('me', 'me-password')), '(wrong user or password)')
  assert.equal(await userOf(basic('you', 'you-password')), '(wrong user or password)')
  assert.equal(await userOf(basic('you', 'another')), 'you')
})

test('a file that turns bad keeps its old content, and is told of once', async (context) => {
  const { userOf, file, later, lines } = await openFile(context, await htpasswdOf('me'))
  await writeFile(file, 'no colon here, but asecret')
  for (let time = 0; time < 3; time += 1) {
    later()
    assert.equal(await userOf(basic('me', 'me-password')), 'me')
  }
  await rm(file)
  for (let time = 0; time < 3; time += 1) {
    later()
    assert.equal(await userOf(basic('me', 'me-password')), 'me')
  }
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    Array.from({ length: 2 }, () => ['warn', 'a file of auth cannot be read: what it said last counts']),
  )
  assert.doesNotMatch(JSON.stringify(lines), /asecret/)
  await writeFile(file, await htpasswdOf('you'))
  later()
  assert.equal(await userOf(basic('you', 'you-password')), 'you')
})

test('T-88: a missing file is made, with a user and a random password that is shown once', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'new', 'htpasswd')
  const passwords: string[] = []
  for (const isFirst of [true, false]) {
    await using app = await startAppUnderTest({ auth: { htpasswd: { realm: 'ours', path } } })
    const shown = app.lines.filter((line) => 'initial' in line)
    // Whatever the level of the log, it can be read there, and nowhere else.
    assert.deepEqual(
      shown.map(({ level }) => level),
      isFirst ? ['error'] : [],
    )
    if (isFirst) passwords.push(String(shown[0]?.['initial']))
    const headers = { authorization: basic('docker', String(passwords[0])) }
    assert.equal((await ask(`${app.url}/v2/`, { headers })).status, 200)
  }
  assert.match(String(passwords[0]), /^[\w-]{32}$/)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.match(await readFile(path, 'utf8'), /^docker:\$2b\$10\$[^\n]+\n$/)
})

test('T-88: of two that find no file each starts, and nothing but a whole file is left', async () => {
  await using folder = await temporaryFolder()
  const options = { realm: 'ours', path: join(folder.path, 'htpasswd'), logger: recordingLogger().logger }
  await Promise.all([HtpasswdController.open(options), HtpasswdController.open(options)])
  assert.deepEqual(await readdir(folder.path), ['htpasswd'])
  assert.match(await readFile(options.path, 'utf8'), /^docker:\$2b\$10\$[^\n]+\n$/)
})

test('T-88: a file that would let nobody in, or cannot be read, is refused at start', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'htpasswd')
  const start = async (): Promise<void> => {
    await using app = await startAppUnderTest({ auth: { htpasswd: { realm: 'ours', path } } })
    assert.fail(`it started on ${app.url}`)
  }
  for (const [text, message] of [
    ['', /^auth\.htpasswd\.path: \/.*\/htpasswd holds no password that is hashed by bcrypt/],
    ['me:{SHA}x', /^auth\.htpasswd\.path: \/.*\/htpasswd holds no password that is hashed by bcrypt/],
    ['asecret', /^auth\.htpasswd\.path: \/.*\/htpasswd cannot be used: line 1 has no colon$/],
  ] as const) {
    await writeFile(path, text)
    await assert.rejects(start, { name: 'ConfigError', message })
  }
  await rm(path)
  await assert.rejects(
    startAppUnderTest({ auth: { htpasswd: { realm: 'r', path: folder.path } } }),
    /^ConfigError: auth\.htpasswd\.path: \/.* cannot be read: EISDIR$/,
  )
})

test('T-97: as many comparisons run as are allowed, as many wait, and the next is refused with a time', async () => {
  const waiting: ((isRight: boolean) => void)[] = []
  let running = 0
  let most = 0
  const checks = new PasswordChecks({
    running: 2,
    waiting: 3,
    async compare() {
      running += 1
      most = Math.max(most, running)
      try {
        return await new Promise<boolean>((resolve) => waiting.push(resolve))
      } finally {
        running -= 1
      }
    },
  })
  const check = async (password: string): Promise<boolean> => await checks.isRight('me', Buffer.from(password), 'hash')
  const first = Array.from({ length: 5 }, async (_, index) => await check(`p${index}`))
  await assert.rejects(check('p5'), { code: 'TOOMANYREQUESTS', retryAfter: 2 })
  const again = check('p0') // the same as one that runs: no place is taken
  while (waiting.length > 0) {
    waiting.shift()?.(true)
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.deepEqual(
    await Promise.all([...first, again]),
    Array.from({ length: 6 }, () => true),
  )
  assert.equal(most, 2)
  assert.equal(await check('p3'), true) // known, also while others wait
  const free = check('p6')
  waiting.shift()?.(false)
  assert.equal(await free, false)
})

test('T-97: no more comparisons run at once after a crowd has waited', async () => {
  let running = 0
  let most = 0
  const checks = new PasswordChecks({
    running: 2,
    waiting: 100,
    async compare() {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      return false
    },
  })
  for (const crowd of ['a', 'b']) {
    const all = Array.from({ length: 20 }, async (_, nth) => await checks.isRight(crowd, Buffer.from(`${nth}`), 'hash'))
    await Promise.all(all)
  }
  assert.equal(most, 2)
})

test('a password that was right is compared again five minutes later', async () => {
  let now = 0
  let compared = 0
  const compare = async (): Promise<boolean> => ++compared > 0
  const checks = new PasswordChecks({ compare, running: 1, waiting: 1, now: () => now })
  const check = async (): Promise<boolean> => await checks.isRight('me', Buffer.from('p'), 'hash')
  assert.equal(await check(), true)
  now = 299_999
  assert.equal(await check(), true)
  assert.equal(compared, 1)
  now = 300_000
  assert.equal(await check(), true)
  assert.equal(compared, 2)
})

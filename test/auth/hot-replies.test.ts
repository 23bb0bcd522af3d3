// Answers of a moment ago where not everybody may have them: given again once the right to them is shown.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { HotReplies } from '../../src/api/hot-replies.ts'
import { loadConfig } from '../../src/config/load.ts'
import { startSink, startTellingApp } from '../events/sink.ts'
import { startWithModules } from '../middleware/fixture.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'
import { basic, htpasswdOf, layerDigest, manifest, manifestDigest, pushImage, startGuarded } from './fixture.ts'
import { pullPrivate, startDoor } from './private-upstream.ts'
import { issuer, keySet, minted, service } from './tokens.ts'

const admin = basic('admin', 'admin-password')
const other = basic('other', 'other-password')

/** Everything for one, pulls from `open` for the other. */
const policy = [
  { users: ['admin'], actions: ['*'], repositories: ['**'] },
  { users: ['other'], actions: ['pull'], repositories: ['open/**'] },
]

interface Watched {
  /** Sets the clock of the process, which stands still otherwise. */
  readonly clock: (now: number) => void
  /** How many answers were given again until now. */
  readonly again: () => number
  /** How many were looked for. */
  readonly looks: () => number
}

/** To be called before a server is started. */
function watch(context: TestContext): Watched {
  let time = 0
  context.mock.method(performance, 'now', () => time)
  const { mock } = context.mock.method(HotReplies.prototype, 'find')
  return {
    clock: (now) => (time = now),
    again: () => mock.calls.filter(({ result }) => result !== undefined).length,
    looks: () => mock.callCount(),
  }
}

async function get({ url }: AppUnderTest, path: string, authorization = ''): Promise<Answer> {
  return await ask(url + path, { headers: authorization === '' ? {} : { authorization } })
}

/** Of the log lines of GETs of the manifest: as many as are waited for. */
async function linesOf(app: AppUnderTest, count: number): Promise<Record<string, unknown>[]> {
  const lines = (): Record<string, unknown>[] =>
    app.lines.filter(({ method, reference }) => method === 'GET' && reference === manifestDigest)
  await app.until(() => lines().length === count)
  return lines()
}

test('an answer is given again to whoever has the right to it, and its log line names who that is', async (context) => {
  const { again } = watch(context)
  await using app = await startGuarded(['admin', 'other'], { policy })
  await pushImage(app.url, 'open/app', '1', admin)
  const path = `/v2/open/app/manifests/${manifestDigest}`
  const answers: Answer[] = []
  for (const authorization of [admin, admin, other]) answers.push(await get(app, path, authorization))
  assert.equal(again(), 2)
  for (const { status, headers, body } of answers) {
    assert.deepEqual([status, body, headers['www-authenticate']], [200, manifest, undefined])
    assert.deepEqual({ ...headers, date: '' }, { ...answers[0]?.headers, date: '' })
  }
  const lines = await linesOf(app, 3)
  assert.deepEqual(
    lines.map(({ user, kind, repository, from, status }) => [user, kind, repository, from, status]),
    ['admin', 'admin', 'other'].map((user) => [user, 'manifest', 'open/app', 'local', 200]),
  )
})

test('P8: whoever has no right is refused what was given a moment ago, and no refusal is given again', async (context) => {
  const { again, looks } = watch(context)
  await using app = await startGuarded(['admin', 'other'], { policy })
  await pushImage(app.url, 'team/app', '1', admin)
  await pushImage(app.url, 'open/app', '1', admin)
  const refused = ['', other, basic('admin', 'wrong'), basic('nobody', 'admin-password'), 'Bearer x']
  for (const path of [
    `/v2/team/app/manifests/${manifestDigest}`,
    `/v2/team/app/blobs/${layerDigest}`,
    `/v2/open/app/manifests/${manifestDigest}?from=team/app`,
  ]) {
    assert.equal((await get(app, path)).status, 401)
    assert.equal((await get(app, path, admin)).status, 200)
    const before = again()
    assert.equal((await get(app, path, admin)).status, 200)
    assert.equal(again(), before + 1)
    const looked = looks()
    for (const authorization of refused) {
      const { status, headers, codes } = await get(app, path, authorization)
      assert.deepEqual([status, codes], [401, ['UNAUTHORIZED']], `${path} ${authorization}`)
      assert.equal(headers['www-authenticate'], 'Basic realm="ours"')
    }
    assert.equal(looks(), looked)
    assert.equal((await get(app, path, admin)).status, 200)
    assert.equal(again(), before + 2)
  }
  const lines = await linesOf(app, 2 * (refused.length + 4))
  for (const { status, user, refused: reason } of lines) {
    assert.deepEqual([user, reason === undefined], status === 200 ? ['admin', true] : [undefined, false])
  }
})

test('P8: a token without the right is refused what another was given a moment ago', async (context) => {
  const { again } = watch(context)
  await using folder = await temporaryFolder()
  const jwks = join(folder.path, 'keys.json')
  await writeFile(jwks, keySet())
  const token = { realm: 'https://auth.test/token', service, issuer, jwks }
  await using app = await startAppUnderTest({ auth: { token } })
  const bearer = (name: string, ...actions: readonly string[]): string =>
    `Bearer ${minted({ access: [{ type: 'repository', name, actions }] })}`
  await pushImage(app.url, 'team/app', '1', bearer('team/app', 'pull', 'push'))
  const path = `/v2/team/app/manifests/${manifestDigest}`
  for (let time = 0; time < 2; time += 1) assert.equal((await get(app, path, bearer('team/app', 'pull'))).status, 200)
  assert.equal(again(), 1)
  for (const no of [bearer('team/other', 'pull'), bearer('team/app', 'push'), `Bearer ${minted({ exp: 1 })}`, '']) {
    assert.equal((await get(app, path, no)).status, 401)
  }
  assert.equal(again(), 1)
})

test('T-85: a password that is taken back is good for no answer of a moment ago', async (context) => {
  const { clock, again } = watch(context)
  await using app = await startGuarded(['admin', 'other'])
  await pushImage(app.url, 'team/app', '1', admin)
  const path = `/v2/team/app/manifests/${manifestDigest}`
  clock(900) // since it was read at 0, the file is looked at again from 1000 on
  for (let time = 0; time < 2; time += 1) assert.equal((await get(app, path, admin)).status, 200)
  assert.equal(again(), 1)
  await writeFile(app.file, await htpasswdOf('other'))
  clock(1000)
  assert.equal((await get(app, path, admin)).status, 401)
  assert.equal(again(), 1)
  assert.equal((await get(app, path, other)).status, 200)
  assert.equal(again(), 2) // so it was there to be given
})

test('what a client changes, and a reload, ends all answers of a moment ago', async (context) => {
  const { again } = watch(context)
  await using app = await startGuarded(['admin'])
  await pushImage(app.url, 'team/app', '1', admin)
  const path = `/v2/team/app/manifests/${manifestDigest}`
  for (let time = 0; time < 2; time += 1) assert.equal((await get(app, path, admin)).status, 200)
  assert.equal(again(), 1)
  const file = join(dirname(app.file), 'config.yml')
  const auth = { htpasswd: { realm: 'ours', path: app.file } }
  await writeFile(file, JSON.stringify({ version: 0.1, storage: { inmemory: {} }, auth }))
  app.app.reload(loadConfig({ path: file, env: {}, cwd: dirname(file) }).config)
  assert.equal((await get(app, path, admin)).status, 200)
  assert.equal(again(), 1)
  assert.equal((await ask(app.url + path, { method: 'DELETE', headers: { authorization: admin } })).status, 202)
  assert.equal((await get(app, path, admin)).status, 404)
})

test('where somebody behind the guard decides about each pull, or hears of it, nothing is given again', async (context) => {
  const { mock } = context.mock.method(HotReplies.prototype, 'find')
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'htpasswd')
  await writeFile(file, await htpasswdOf('admin'))
  const auth = { htpasswd: { realm: 'ours', path: file } }
  const hook = { source: 'export const allow = () => ({ allow: true })' }
  await using sink = await startSink()
  await using decided = await startWithModules([hook], { auth })
  await using decidedHere = await startWithModules([{ ...hook, repositories: ['team/**'] }], { auth })
  await using told = await startTellingApp(sink, { sections: { auth } })
  for (const app of [decided, decidedHere, told]) {
    await pushImage(app.url, 'team/app', '1', admin)
    for (let time = 0; time < 2; time += 1) {
      assert.equal((await get(app, `/v2/team/app/manifests/${manifestDigest}`, admin)).status, 200)
    }
  }
  await using door = await startDoor()
  for (let time = 0; time < 2; time += 1) await pullPrivate(door)
  assert.equal(mock.callCount(), 0)
})

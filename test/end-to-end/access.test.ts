// Real clients before a guarded door: they log in, push and pull with a password, with tokens that they fetch, and without
// either where nobody is asked.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { issuer, keySet, minted, service } from '../auth/tokens.ts'
import { basic, htpasswdOf } from '../auth/fixture.ts'
import { startOrigin, type Origin } from '../support/origin.ts'
import { signaturePolicy } from '../support/real-image.ts'
import {
  run,
  startDockerRegistry,
  startEntrepot,
  temporaryFolder,
  without,
  type Entrepot,
  type Folder,
} from '../support/real-parts.ts'
import { scriptedServer } from '../support/scripted-server.ts'

interface Skopeo {
  copy(from: string, to: string, ...flags: readonly string[]): Promise<void>
  login(host: string, user: string, password: string): Promise<void>
  logout(host: string): Promise<void>
}

async function skopeoIn(folder: Folder): Promise<Skopeo> {
  const policy = ['--policy', await signaturePolicy(folder)]
  const file = ['--authfile', join(folder.path, 'auth.json')]
  const plain = ['--src-tls-verify=false', '--dest-tls-verify=false']
  return {
    async copy(from, to, ...flags) {
      await run('skopeo', [...policy, 'copy', '--quiet', '--preserve-digests', ...plain, ...file, ...flags, from, to])
    },
    async login(host, user, password) {
      await run('skopeo', ['login', '--tls-verify=false', ...file, '-u', user, '-p', password, host])
    },
    async logout(host) {
      await run('skopeo', ['logout', ...file, host])
    },
  }
}

interface Parts extends AsyncDisposable {
  readonly folder: Folder
  /** Has `team/app:1`. */
  readonly origin: Origin
  readonly skopeo: Skopeo
  /** Where an image is pulled to. */
  readonly pulled: (name: string) => string
  /** Starts what is under test, its storage in memory; `sections`: what stands in its configuration besides. */
  readonly start: (sections: string) => Promise<Entrepot>
}

async function startParts(): Promise<Parts> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  const origin = opening.use(await startOrigin())
  await origin.addImage('team/app', '1', [Buffer.from('a layer'), Buffer.from('another')])
  const skopeo = await skopeoIn(folder)
  const resources = opening.move()
  return {
    folder,
    origin,
    skopeo,
    pulled: (name) => `dir:${join(folder.path, name)}`,
    start: async (sections) =>
      await startEntrepot(folder, `version: 0.1\nstorage: inmemory\nhttp: { addr: 127.0.0.1:0 }\n${sections}`),
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

function at(url: string, name = 'team/app:1'): string {
  return `docker://${new URL(url).host}/${name}`
}

const refusal = /unauthorized|authentication required|invalid username/i

test(
  'skopeo logs in, pushes and pulls with a password, and not with a wrong one or none',
  { skip: without('skopeo'), timeout: 120_000 },
  async () => {
    await using parts = await startParts()
    const { folder, origin, skopeo, pulled, start } = parts
    const file = await folder.write('htpasswd', await htpasswdOf('ci', 'reader'))
    await using entrepot = await start(
      `auth:
  htpasswd: { realm: ours, path: ${file} }
  policy:
    - { users: ['*'], actions: [pull], repositories: ['**'] }
    - { users: [ci], actions: [push], repositories: [team/**] }
proxy: { upstreams: { origin.test: { url: ${origin.url} } } }
`,
    )
    const { host, url } = entrepot
    await assert.rejects(skopeo.login(host, 'ci', 'wrong'), refusal)
    await assert.rejects(skopeo.copy(at(url, 'origin.test/team/app:1'), pulled('none')), refusal)
    await skopeo.login(host, 'reader', 'reader-password')
    await skopeo.copy(at(url, 'origin.test/team/app:1'), pulled('cached'))
    await assert.rejects(skopeo.copy(at(origin.url), at(url)), refusal)
    await skopeo.logout(host)
    await skopeo.login(host, 'ci', 'ci-password')
    await skopeo.copy(at(origin.url), at(url))
    await skopeo.copy(at(url), pulled('pushed'))
    await assert.rejects(skopeo.copy(at(origin.url), at(url, 'other/app:1')), refusal)
    await skopeo.logout(host)
    const inspect = async (credentials: string): Promise<string> =>
      await run('skopeo', ['inspect', '--raw', '--tls-verify=false', '--creds', credentials, at(url)])
    assert.match(await inspect('reader:reader-password'), /"layers"/)
    await assert.rejects(inspect('reader:wrong'), refusal)
    const users = new Set(entrepot.lines().map(({ user }) => user))
    assert.deepEqual(users, new Set([undefined, 'reader', 'ci']))
    assert.doesNotMatch(entrepot.process.output(), /-password|Basic /)
  },
)

test('podman logs in with the right password only', { skip: without('podman'), timeout: 120_000 }, async () => {
  await using parts = await startParts()
  const { folder, start } = parts
  const file = await folder.write('htpasswd', await htpasswdOf('ci'))
  await using entrepot = await start(`auth: { htpasswd: { realm: ours, path: ${file} } }`)
  const flags = ['--tls-verify=false', '--authfile', join(folder.path, 'auth.json'), '-u', 'ci']
  const login = async (password: string): Promise<string> =>
    await run('podman', ['login', ...flags, '-p', password, entrepot.host])
  await assert.rejects(login('wrong'), refusal)
  assert.match(await login('ci-password'), /Login Succeeded/)
})

test(
  'skopeo fetches the token that the challenge asks for, and pushes and pulls with it',
  { skip: without('skopeo'), timeout: 120_000 },
  async () => {
    await using parts = await startParts()
    const { folder, origin, skopeo, pulled, start } = parts
    /** Gives `ci` what it asks for, and everybody else the right to pull. */
    await using tokens = await scriptedServer(({ query, authorization }, response) => {
      assert.equal(query.get('service'), service)
      const access = query.getAll('scope').map((scope) => {
        const [type, name, actions = ''] = scope.split(':')
        const asked = actions.split(',')
        return {
          type,
          name,
          actions: authorization === basic('ci', 'p') ? asked : asked.filter((one) => one === 'pull'),
        }
      })
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ token: minted({ access, sub: authorization === undefined ? '' : 'ci' }) }))
    })
    const jwks = await folder.write('keys.json', keySet())
    await using entrepot = await start(
      `auth: { token: { realm: ${tokens.url.href}token, service: ${service}, issuer: ${issuer}, jwks: ${jwks} } }
`,
    )
    await assert.rejects(skopeo.copy(at(origin.url), at(entrepot.url)), refusal)
    await skopeo.copy(at(origin.url), at(entrepot.url), '--dest-creds', 'ci:p')
    await skopeo.copy(at(entrepot.url), pulled('pulled'))
    assert.ok(tokens.requests.length >= 3)
  },
)

test(
  'where nobody is asked who he is skopeo pulls without credentials and with wrong ones, and pushes with right ones',
  { skip: without('skopeo'), timeout: 120_000 },
  async () => {
    await using parts = await startParts()
    const { folder, origin, skopeo, pulled, start } = parts
    const file = await folder.write('htpasswd', await htpasswdOf('ci'))
    await using entrepot = await start(
      `auth:
  htpasswd: { realm: ours, path: ${file} }
  anonymous: [{ repositories: ['**'], networks: [127.0.0.0/8] }]
`,
    )
    const { host, url } = entrepot
    await assert.rejects(skopeo.login(host, 'ci', 'wrong'), refusal)
    await assert.rejects(skopeo.copy(at(origin.url), at(url)), refusal)
    await skopeo.copy(at(origin.url), at(url), '--dest-creds', 'ci:ci-password')
    await skopeo.copy(at(url), pulled('without'))
    await skopeo.copy(at(url), pulled('wrong'), '--src-creds', 'me:for-docker-hub')
  },
)

test(
  'what a private registry gives to some skopeo pulls through with their passwords, and with no others',
  { skip: without('skopeo', 'docker-registry'), timeout: 120_000 },
  async () => {
    await using parts = await startParts()
    const { folder, origin, skopeo, pulled, start } = parts
    const htpasswd = await folder.write('htpasswd', await htpasswdOf('us', 'alice'))
    await using theirs = await startDockerRegistry(folder, { root: join(folder.path, 'theirs'), htpasswd })
    await using entrepot = await start(
      `proxy:
  upstreams:
    theirs: { url: ${theirs.url}, access: client, username: us, password: us-password }
`,
    )
    await skopeo.copy(at(origin.url), at(theirs.url), '--dest-creds', 'us:us-password')
    const pull = async (name: string, ...flags: readonly string[]): Promise<void> =>
      await skopeo.copy(at(entrepot.url, 'theirs/team/app:1'), pulled(name), ...flags)
    await assert.rejects(pull('before'), refusal)
    await pull('with', '--src-creds', 'alice:alice-password')
    await assert.rejects(pull('without'), refusal)
    await assert.rejects(pull('wrong', '--src-creds', 'alice:wrong'), refusal)
    await pull('again', '--src-creds', 'alice:alice-password')
    assert.doesNotMatch(entrepot.process.output(), /-password|Basic /)
  },
)

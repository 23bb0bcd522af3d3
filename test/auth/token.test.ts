// Tokens at a whole server: what they give, and what clients hear who have none that is good.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { layerDigest, manifestDigest, pushImage } from './fixture.ts'
import { issuer, jwkOf, keySet, minted, now, service } from './tokens.ts'

const realm = 'https://auth.test/token'

async function startWithTokens(
  token: Record<string, unknown> = {},
  sections: Record<string, unknown> = {},
  keys = keySet(),
): Promise<AppUnderTest> {
  await using folder = await temporaryFolder()
  const jwks = join(folder.path, 'keys.json')
  await writeFile(jwks, keys)
  return await startAppUnderTest({
    storage: { inmemory: {}, delete: { enabled: true } },
    auth: { token: { realm, service, issuer, jwks, ...token } },
    ...sections,
  })
}

function bearer(...access: readonly (readonly [name: string, ...actions: string[]])[]): string {
  return `Bearer ${minted({ access: access.map(([name, ...actions]) => ({ type: 'repository', name, actions })) })}`
}

const catalog = `Bearer ${minted({ access: [{ type: 'registry', name: 'catalog', actions: ['*'] }] })}`

test('the challenge says where to get a token, for what, and what was wrong with the last', async () => {
  await using app = await startWithTokens()
  const challengeOf = async (method: string, path: string, authorization?: string): Promise<unknown> => {
    const headers = authorization === undefined ? {} : { authorization }
    const answer = await ask(`${app.url}${path}`, { method, headers })
    assert.deepEqual([answer.status, method === 'HEAD' ? ['UNAUTHORIZED'] : answer.codes], [401, ['UNAUTHORIZED']])
    return answer.headers['www-authenticate']
  }
  const start = `Bearer realm="${realm}",service="${service}"`
  assert.equal(await challengeOf('GET', '/v2/'), start)
  assert.equal(await challengeOf('HEAD', '/v2/a/b/manifests/1'), `${start},scope="repository:a/b:pull"`)
  assert.equal(await challengeOf('GET', '/v2/_catalog'), `${start},scope="registry:catalog:*"`)
  assert.equal(await challengeOf('PUT', '/v2/a/b/manifests/1'), `${start},scope="repository:a/b:pull,push"`)
  assert.equal(await challengeOf('DELETE', '/v2/a/b/manifests/1'), `${start},scope="repository:a/b:delete"`)
  const mount = `/v2/a/b/blobs/uploads/?mount=${layerDigest}&from=`
  const both = `${start},scope="repository:a/b:pull,push repository:c/d:pull"`
  assert.equal(await challengeOf('POST', `${mount}c/d`), both)
  assert.equal(await challengeOf('POST', `${mount}a/b`), `${start},scope="repository:a/b:pull,push"`)
  const odd = `${mount}${encodeURIComponent('c/d:pull" x="\r\n')}`
  assert.equal(await challengeOf('POST', odd), `${start},scope="repository:a/b:pull,push"`)
  const path = '/v2/a/b/tags/list'
  const scope = `${start},scope="repository:a/b:pull"`
  assert.equal(await challengeOf('GET', path, 'Bearer rubbish'), `${scope},error="invalid_token"`)
  assert.equal(await challengeOf('GET', path, `Bearer ${minted({ exp: 1 })}`), `${scope},error="invalid_token"`)
  assert.equal(await challengeOf('GET', path, bearer(['a/b', 'push'])), `${scope},error="insufficient_scope"`)
  assert.equal(await challengeOf('GET', path, 'Basic bWU6bWU='), scope)
  assert.equal(
    await challengeOf('POST', `${mount}c/d`, bearer(['a/b', 'pull', 'push'])),
    `${both},error="insufficient_scope"`,
  )
})

test('a token gives what it names, and nothing more', async () => {
  await using app = await startWithTokens()
  const all = bearer(['team/app', 'pull', 'push'])
  await pushImage(app.url, 'team/app', '1', all)
  const manifest = `/v2/team/app/manifests/${manifestDigest}`
  const table: readonly (readonly [method: string, path: string, authorization: string, status: number])[] = [
    ['GET', '/v2/', `Bearer ${minted({ access: null })}`, 200],
    ['GET', '/v2/', `Bearer ${minted({ access: undefined })}`, 200],
    ['GET', manifest, bearer(['team/app', 'pull']), 200],
    ['GET', manifest, bearer(['team/app', '*']), 200],
    ['GET', manifest, bearer(['team/app', 'push']), 401],
    ['GET', manifest, bearer(['team/apps', 'pull']), 401],
    ['GET', manifest, bearer(['team/**', 'pull']), 401],
    ['GET', manifest, bearer(['*', 'pull']), 401],
    ['GET', manifest, bearer(['TEAM/APP', 'pull']), 401],
    ['GET', manifest, bearer(['team/app', 'PULL']), 401],
    ['GET', manifest, catalog, 401],
    ['POST', '/v2/team/app/blobs/uploads/', bearer(['team/app', 'push']), 401],
    ['POST', '/v2/team/app/blobs/uploads/', bearer(['team/app', 'pull'], ['team/app', 'push']), 202],
    ['DELETE', manifest, all, 401],
    ['DELETE', '/v2/team/app/manifests/none', bearer(['team/app', '*']), 404],
    ['DELETE', manifest, bearer(['team/app', 'delete']), 202],
    ['GET', '/v2/_catalog', all, 401],
    ['GET', '/v2/_catalog', catalog, 200],
    ['GET', '/v2/_catalog', bearer(['catalog', '*']), 401],
  ]
  const found: unknown[] = []
  for (const [method, path, authorization] of table) {
    found.push([
      method,
      path,
      authorization,
      (await ask(app.url + path, { method, headers: { authorization } })).status,
    ])
  }
  assert.deepEqual(found, table)
})

test('T-89: where tokens come from is said by the configuration, not by what a client sends', async () => {
  const headers = {
    host: 'evil.test',
    'x-forwarded-host': 'evil.test',
    'x-forwarded-proto': 'http',
    forwarded: 'host=evil.test',
  }
  const realmAt = async (app: AppUnderTest, more: Record<string, string> = {}): Promise<unknown> => {
    const { headers: got } = await ask(`${app.url}/v2/`, { headers: { ...headers, ...more } })
    return /realm="([^"]*)"/.exec(got['www-authenticate'] ?? '')?.[1]
  }
  await using fixed = await startWithTokens()
  assert.equal(await realmAt(fixed), realm)
  await using named = await startWithTokens(
    { autoredirect: true },
    { http: { addr: '127.0.0.1:0', host: 'https://our.test/x' } },
  )
  assert.equal(await realmAt(named), 'https://our.test/auth/token')
  // As in distribution the client's own word for us comes back to it, but never as http: nobody has vouched for that.
  await using asked = await startWithTokens({ autoredirect: true, autoredirectpath: '/t' })
  assert.equal(await realmAt(asked, { host: 'our.test:5000' }), 'https://our.test:5000/t')
  assert.equal(await realmAt(asked, { host: 'evil.test/x?' }), realm)
  const http = { addr: '127.0.0.1:0', trustedproxies: ['127.0.0.1'] }
  await using proxied = await startWithTokens({ autoredirect: true }, { http })
  assert.equal(await realmAt(proxied, { 'x-forwarded-host': 'our.test' }), 'https://our.test/auth/token')
})

test('T-88: keys that are missing, weak or unreadable are refused at start', async () => {
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const oct = (bytes: number): unknown => ({ kty: 'oct', kid: 'k', k: Buffer.alloc(bytes, 1).toString('base64url') })
  const { publicKey: x25519 } = generateKeyPairSync('x25519')
  const good = (JSON.parse(keySet()) as { keys: unknown[] }).keys
  for (const [keys, message] of [
    ['asecret', /^auth\.token\.jwks: \/.* cannot be used: not JSON$/],
    ['{}', /^auth\.token\.jwks: \/.* cannot be used: not a set of keys$/],
    [{ keys: [] }, /^auth\.token\.jwks: \/.* cannot be used: no key in it has a kid and may sign$/],
    [{ keys: [{ ...Object(good[0]), kid: undefined }] }, /^auth\.token\.jwks: \/.* cannot be used: no key in it/],
    [{ keys: [{ ...Object(good[0]), use: 'enc' }] }, /^auth\.token\.jwks: \/.* cannot be used: no key in it/],
    [{ keys: [good[0], good[0]] }, /^auth\.token\.jwks: \/.* cannot be used: two keys have the same kid$/],
    [
      { keys: [jwkOf(short.publicKey, 'k')] },
      /^auth\.token\.jwks: \/.* cannot be used: an RSA key is shorter than 2048 bits$/,
    ],
    [{ keys: [oct(31)] }, /^auth\.token\.jwks: \/.* cannot be used: a shared secret is shorter than 32 bytes$/],
    [{ keys: [oct(0)] }, /^auth\.token\.jwks: \/.* cannot be used: a shared secret is shorter than 32 bytes$/],
    [{ keys: [jwkOf(x25519, 'k')] }, /^auth\.token\.jwks: \/.* cannot be used: no key in it/],
    [
      { keys: [{ kty: 'EC', kid: 'k', crv: 'P-256', x: 'AA', y: 'AA' }] },
      /^auth\.token\.jwks: \/.* cannot be used: a key cannot be read$/,
    ],
  ] as const) {
    const text = typeof keys === 'string' ? keys : JSON.stringify(keys)
    await assert.rejects(startWithTokens({}, {}, text), { name: 'ConfigError', message })
  }
  await assert.rejects(
    startWithTokens({ jwks: '/nowhere' }),
    /^ConfigError: auth\.token\.jwks: \/nowhere cannot be read: ENOENT$/,
  )
  await using folder = await temporaryFolder()
  const rootcertbundle = join(folder.path, 'bundle.pem')
  await writeFile(rootcertbundle, 'asecret')
  await assert.rejects(startWithTokens({ rootcertbundle }), {
    message: `auth.token.rootcertbundle: ${rootcertbundle} cannot be used: no certificate in PEM is in it`,
  })
})

test('neither a token nor its claims are in the log, its subject is', async () => {
  await using app = await startWithTokens()
  const good = minted({ jti: 'acanary' })
  await ask(`${app.url}/v2/team/app/tags/list`, { headers: { authorization: `Bearer ${good}` } })
  for (const claims of [{ sub: '' }, { sub: undefined }, { exp: now - 100 }]) {
    const headers = { authorization: `Bearer ${minted(claims)}` }
    await ask(`${app.url}/v2/team/app/tags/list`, { headers })
  }
  await app.until((line) => line['status'] === 401)
  const found = app.lines.filter((line) => line['kind'] === 'tags').map(({ user, refused }) => [user, refused])
  assert.deepEqual(found, [
    ['jane', undefined],
    [undefined, undefined],
    [undefined, undefined],
    [undefined, 'ERR_JWT_EXPIRED'],
  ])
  assert.doesNotMatch(app.text(), /acanary|eyJ/)
})

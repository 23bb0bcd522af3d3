// Our own rules: pulls for which nobody is asked who he is, and what those who are known may do.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Networks } from '../../src/auth/networks.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { startOrigin } from '../support/origin.ts'
import { basic, manifest, manifestDigest, pushImage, startGuarded } from './fixture.ts'
import { issuer, keySet, minted, service } from './tokens.ts'

const admin = basic('admin', 'admin-password')
/** What dockerd sends to a mirror: credentials for the registry that it means. */
const dockerHubs = basic('me', 'for Docker Hub')

const here = ['127.0.0.0/8', '::1/128']

test('whoever comes from a network pulls what is named, whatever credentials come along, and nothing else', async () => {
  await using app = await startGuarded(['admin'], { anonymous: [{ repositories: ['open/**'], networks: here }] })
  await pushImage(app.url, 'open/app', '1', admin)
  await pushImage(app.url, 'team/app', '1', admin)
  const statusOf = async (method: string, path: string, authorization: string): Promise<number> =>
    (await ask(app.url + path, { method, headers: { authorization } })).status
  for (const authorization of ['', dockerHubs, admin, 'Bearer x', 'rubbish']) {
    assert.equal(await statusOf('GET', '/v2/open/app/manifests/1', authorization), 200)
    assert.equal(await statusOf('HEAD', '/v2/open/app/manifests/1', authorization), 200)
    assert.equal(await statusOf('GET', '/v2/open/app/tags/list', authorization), 200)
    assert.equal(await statusOf('GET', `/v2/open/app/referrers/${manifestDigest}`, authorization), 200)
    assert.equal(await statusOf('GET', '/v2/open/none/manifests/1', authorization), 404)
    const others = authorization === admin ? 200 : 401
    assert.equal(await statusOf('GET', '/v2/team/app/manifests/1', authorization), others)
    assert.equal(await statusOf('GET', '/v2/open/app/manifests/1?from=team/app', authorization), others)
    assert.equal(await statusOf('GET', '/v2/_catalog', authorization), others)
    assert.equal(await statusOf('POST', '/v2/open/app/blobs/uploads/', authorization), others === 200 ? 202 : 401)
    assert.equal(await statusOf('DELETE', '/v2/open/app/manifests/none', authorization), others === 200 ? 404 : 401)
  }
})

test('where it may pull, a client hears at /v2/ that it may come in, and how it could log in; wrong credentials do not', async () => {
  await using app = await startGuarded(['admin'], { anonymous: [{ repositories: ['open/**'], networks: here }] })
  const base = async (headers: Record<string, string>): Promise<unknown> => {
    const { status, headers: got } = await ask(`${app.url}/v2/`, { headers })
    return [status, got['www-authenticate']]
  }
  assert.deepEqual(await base({}), [200, 'Basic realm="ours"'])
  assert.deepEqual(await base({ authorization: admin }), [200, undefined])
  assert.deepEqual(await base({ authorization: dockerHubs }), [401, 'Basic realm="ours"'])
})

test('by which methods a resource can be asked hears whoever may come in, wherever he may pull', async () => {
  await using app = await startGuarded(['admin'], { anonymous: [{ repositories: ['open/**'], networks: here }] })
  for (const path of ['/v2/', '/v2/open/app/manifests/1', '/v2/team/app/manifests/1']) {
    for (const authorization of [undefined, admin, dockerHubs]) {
      const headers = authorization === undefined ? {} : { authorization }
      const base = await ask(`${app.url}/v2/`, { headers })
      const { status, headers: got } = await ask(app.url + path, { method: 'OPTIONS', headers })
      assert.deepEqual([status, got['www-authenticate']], [base.status, base.headers['www-authenticate']], path)
    }
  }
})

test('whoever comes from elsewhere is asked who he is, also where a header says otherwise', async () => {
  const anonymous = [{ repositories: ['**'], networks: ['192.0.2.0/24', '2001:db8::/32'] }]
  await using app = await startGuarded(['admin'], { anonymous })
  const headers = { 'x-forwarded-for': '192.0.2.1', 'x-real-ip': '192.0.2.1', forwarded: 'for=192.0.2.1' }
  for (const path of ['/v2/', '/v2/open/app/manifests/1']) {
    assert.equal((await ask(app.url + path, { headers })).status, 401)
    assert.notEqual((await ask(app.url + path, { headers: { ...headers, authorization: admin } })).status, 401)
  }
})

test('networks know IPv4 addresses in IPv6’s clothes, and nothing that is no address', () => {
  const networks = new Networks(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', 'fe80::/10'])
  for (const address of ['10.255.0.1', '::ffff:10.1.2.3', '192.0.2.7', '2001:db8:1::1', 'fe80::1%eth0']) {
    assert.equal(networks.has(address), true, address)
  }
  for (const address of [
    '11.0.0.1',
    '192.0.2.8',
    '2001:db9::1',
    '::ffff:11.0.0.1',
    '::10.0.0.1',
    '',
    'localhost',
    '10.0.0.1:80',
  ]) {
    assert.equal(networks.has(address), false, address)
  }
  assert.equal(new Networks(['0.0.0.0/0']).has('::1'), false)
  for (const none of ['10.0.0.0/33', '::/129', 'localhost', '10.0.0.0/', '']) assert.throws(() => new Networks([none]))
})

test('rights go by the one name of a repository here, whichever of its names a client uses', async () => {
  await using hub = await startOrigin()
  await using other = await startOrigin()
  await hub.addImage('library/app', '1', [Buffer.from('layer')])
  await other.addImage('library/app', '1', [Buffer.from('layer')])
  const proxy = {
    upstreams: { 'hub.test': { url: hub.url, default: true, library: true }, 'other.test': { url: other.url } },
  }
  const anonymous = [{ repositories: ['hub.test/**', 'library/**'] }]
  const policy = [{ users: ['admin'], actions: ['pull'], repositories: ['other.test/**'] }]
  await using app = await startGuarded(['admin'], { anonymous, policy }, { proxy })
  const statusOf = async (path: string, authorization = ''): Promise<number> =>
    (await ask(`${app.url}/v2/${path}`, { headers: { authorization } })).status
  for (const path of ['library/app', 'app', 'hub.test/library/app', 'hub.test/app']) {
    assert.equal(await statusOf(`${path}/manifests/1`), 200, path)
  }
  assert.equal(await statusOf('library/app/manifests/1?ns=hub.test'), 200)
  const askedFor = other.seen.length
  assert.equal(await statusOf('library/app/manifests/1?ns=other.test'), 401)
  assert.equal(await statusOf('other.test/library/app/manifests/1'), 401)
  assert.equal(await statusOf('library/app/manifests/1?ns=nowhere.test'), 401)
  assert.equal(await statusOf('library/app/manifests/1?ns=hub.test&ns=other.test'), 401)
  assert.equal(other.seen.length, askedFor) // nobody was asked for what is not the client's
  assert.equal(await statusOf('library/app/manifests/1?ns=other.test', admin), 200)
  assert.equal(await statusOf('library/app/manifests/1?ns=nowhere.test', admin), 401)
})

test('T-82: what others have cached is refused in the same words as what nobody has, and the upstream is not asked', async () => {
  await using origin = await startOrigin()
  const image = await origin.addImage('private/app', '1', [Buffer.from('secret layer')])
  const policy = [
    { users: ['admin'], actions: ['pull'], repositories: ['**'] },
    { users: ['other'], actions: ['pull'], repositories: ['origin.test/open/**'] },
  ]
  const proxy = { upstreams: { 'origin.test': { url: origin.url } } }
  await using app = await startGuarded(['admin', 'other'], { policy }, { proxy })
  const places = [
    'manifests/1',
    `manifests/${image.manifest}`,
    `blobs/${String(image.layers[0])}`,
    `referrers/${image.manifest}`,
    'tags/list',
  ]
  const answers = async (name: string, authorization: string): Promise<unknown[]> => {
    const found: unknown[] = []
    for (const place of places) {
      for (const method of ['GET', 'HEAD']) {
        const headers = { authorization, range: 'bytes=0-3' }
        const { status, body } = await ask(`${app.url}/v2/origin.test/${name}/${place}`, { method, headers })
        found.push([method, place, status, body.toString().replaceAll(name, '…')])
      }
    }
    return found
  }
  const other = basic('other', 'other-password')
  const missed = await answers('private/app', other)
  assert.deepEqual(origin.seen, [])
  assert.match(JSON.stringify(await answers('private/app', admin)), /200/)
  const askedFor = origin.seen.length
  assert.deepEqual(await answers('private/app', other), missed)
  assert.deepEqual(await answers('private/xyz', other), missed)
  assert.equal(origin.seen.length, askedFor)
  // Nor through a repository that is his: the upstream says that the blob is not there, and what is stored gives no right.
  const blob = `${app.url}/v2/origin.test/open/app/blobs/${String(image.layers[0])}`
  for (const method of ['GET', 'HEAD'])
    assert.equal((await ask(blob, { method, headers: { authorization: other } })).status, 404)
})

test('policy may go by what a token says of its owner', async () => {
  await using folder = await temporaryFolder()
  const jwks = join(folder.path, 'keys.json')
  await writeFile(jwks, keySet())
  const policy = [
    { claims: { groups: ['builders', 'admins'] }, actions: ['push', 'pull'], repositories: ['team/**'] },
    { users: ['jane'], claims: { groups: ['readers'], tenant: ['a'] }, actions: ['pull'], repositories: ['**'] },
    { users: ['*'], actions: ['catalog'] },
  ]
  await using app = await startAppUnderTest({
    auth: { token: { realm: 'r', service, issuer, jwks }, policy },
  })
  const all = ['team/app', 'other/app'].map((name) => ({ type: 'repository', name, actions: ['*'] }))
  const access = [...all, { type: 'registry', name: 'catalog', actions: ['*'] }]
  const statusOf = async (method: string, path: string, claims: Record<string, unknown>): Promise<number> => {
    const headers = { authorization: `Bearer ${minted({ access, ...claims })}` }
    return (await ask(`${app.url}/v2/${path}`, { method, headers })).status
  }
  const [team, other] = ['team/app/tags/list', 'other/app/tags/list']
  const push = 'team/app/blobs/uploads/'
  assert.equal(await statusOf('POST', push, { groups: ['x', 'admins'] }), 202)
  assert.equal(await statusOf('POST', push, { groups: 'builders' }), 202)
  assert.equal(await statusOf('POST', push, { groups: ['x'] }), 401)
  assert.equal(await statusOf('POST', push, { groups: [['admins']] }), 401)
  assert.equal(await statusOf('POST', push, { groups: { 0: 'admins' } }), 401)
  assert.equal(await statusOf('POST', push, {}), 401)
  assert.equal(await statusOf('GET', team, { groups: ['admins'] }), 404)
  assert.equal(await statusOf('GET', other, { groups: ['admins'] }), 401)
  assert.equal(await statusOf('GET', other, { groups: ['readers'], tenant: 'a' }), 404)
  assert.equal(await statusOf('GET', other, { groups: ['readers'], tenant: 'b' }), 401)
  assert.equal(await statusOf('GET', other, { groups: ['readers'], tenant: 'a', sub: 'joe' }), 401)
  assert.equal(await statusOf('GET', '_catalog', {}), 200)
  assert.equal(await statusOf('DELETE', 'team/app/manifests/1', { groups: ['admins'] }), 401)
  // A policy takes away; it gives nothing that the token does not.
  assert.equal(await statusOf('POST', push, { groups: ['admins'], access: [] }), 401)
})

test('T-86: a read-only registry refuses every write to whoever has every right, method overrides too', async () => {
  await using app = await startGuarded(
    ['admin'],
    {},
    {
      storage: { inmemory: {}, delete: { enabled: true }, maintenance: { readonly: { enabled: true } } },
    },
  )
  const headers = { authorization: admin, 'x-http-method-override': 'GET', 'x-method-override': 'GET' }
  for (const [method, path] of [
    ['PUT', 'a/manifests/1'],
    ['DELETE', 'a/manifests/1'],
    ['DELETE', `a/manifests/${manifestDigest}`],
    ['DELETE', `a/blobs/${manifestDigest}`],
    ['POST', 'a/blobs/uploads/'],
    ['PATCH', 'a/blobs/uploads/x'],
    ['PUT', 'a/blobs/uploads/x'],
    ['DELETE', 'a/blobs/uploads/x'],
  ] as const) {
    const answer = await ask(`${app.url}/v2/${path}`, { method, headers, body: manifest })
    assert.deepEqual([answer.status, answer.codes], [405, ['UNSUPPORTED']], `${method} ${path}`)
  }
})

test('silly lets in whoever sends anything', async () => {
  await using app = await startAppUnderTest({ auth: { silly: { realm: 'r', service: 's' } } })
  const { status, headers } = await ask(`${app.url}/v2/a/tags/list`)
  assert.deepEqual(
    [status, headers['www-authenticate']],
    [401, 'Bearer realm="r",service="s",scope="repository:a:pull"'],
  )
  assert.equal((await ask(`${app.url}/v2/a/tags/list`, { headers: { authorization: 'x' } })).status, 404)
  assert.equal(app.lines.at(-1)?.['user'], 'silly')
})

// T-80, T-81: who hears what at every endpoint. A route that is not in the table fails.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { accessRules } from '../../src/api/access.ts'
import { parseRoute } from '../../src/api/route.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { basic, layerDigest, manifestDigest, pushImage, startGuarded } from './fixture.ts'
import { issuer, keySet, minted, now, service } from './tokens.ts'

const id = '6f9619ff-8b86-4d01-b42d-00cf4fc964ff'
const absent = `sha256:${'0'.repeat(64)}`

/** Each with the credentials that it sends. */
const clients = {
  anonymous: undefined,
  'wrong password': basic('admin', 'wrong'),
  unknown: basic('nobody', 'admin-password'),
  'other user': basic('other', 'other-password'),
  'pull only': basic('puller', 'puller-password'),
  'push too': basic('pusher', 'pusher-password'),
  admin: basic('admin', 'admin-password'),
} as const

const policy = [
  { users: ['admin'], actions: ['*'], repositories: ['**'] },
  { users: ['puller', 'pusher'], actions: ['pull'], repositories: ['team/**'] },
  { users: ['pusher'], actions: ['push'], repositories: ['team/**'] },
  { users: ['other'], actions: ['pull', 'push', 'delete'], repositories: ['other/**'] },
]

function bearer(rights: Readonly<Record<string, readonly string[]>>): string {
  const access = Object.entries(rights).map(([name, actions]) => ({ type: 'repository', name, actions }))
  return `Bearer ${minted({ access })}`
}

const all = ['pull', 'push', 'delete']
const catalog = { type: 'registry', name: 'catalog', actions: ['*'] }
const everything = ['team/app', 'team/none', 'other/app', 'other/new', 'other/new2']
  .map<unknown>((name) => ({ type: 'repository', name, actions: [...all, '*'] }))
  .concat(catalog)

/** The same people, with what a token server gives them. */
const owners: Readonly<Record<keyof typeof clients, string | undefined>> = {
  anonymous: undefined,
  'wrong password': `${bearer({})}x`,
  unknown: `Bearer ${minted({ exp: now - 3600, access: everything })}`,
  'other user': bearer({ 'other/app': all, 'other/new': all, 'other/new2': all }),
  'pull only': bearer({ 'team/app': ['pull'], 'team/none': ['pull'] }),
  'push too': bearer({ 'team/app': ['pull', 'push'], 'team/none': ['pull', 'push'] }),
  admin: `Bearer ${minted({ access: everything })}`,
}

type Row = readonly [request: string, ...statuses: number[]]

/** Method, path, headers; then the status for each of `clients`. Nothing here changes what the next row finds. */
const table: readonly Row[] = [
  ['GET /', 200, 200, 200, 200, 200, 200, 200],
  ['HEAD /', 200, 200, 200, 200, 200, 200, 200],
  ['DELETE /', 405, 405, 405, 405, 405, 405, 405],
  ['GET /v2/', 401, 401, 401, 200, 200, 200, 200],
  ['HEAD /v2/', 401, 401, 401, 200, 200, 200, 200],
  ['GET /v2', 401, 401, 401, 200, 200, 200, 200],
  ['DELETE /v2/', 401, 401, 401, 405, 405, 405, 405],
  ['GET /v2/_catalog', 401, 401, 401, 401, 401, 401, 200],
  ['HEAD /v2/_catalog', 401, 401, 401, 401, 401, 401, 405],
  ['GET /v2/_catalog?n=1', 401, 401, 401, 401, 401, 401, 200],
  ['GET /v2/team/app/tags/list', 401, 401, 401, 401, 200, 200, 200],
  ['HEAD /v2/team/app/tags/list', 401, 401, 401, 401, 405, 405, 405],
  ['GET /v2/team/none/tags/list', 401, 401, 401, 401, 404, 404, 404],
  ['GET /v2/team/app/manifests/1', 401, 401, 401, 401, 200, 200, 200],
  ['HEAD /v2/team/app/manifests/1', 401, 401, 401, 401, 200, 200, 200],
  ['GET /v2/team/app/manifests/none', 401, 401, 401, 401, 404, 404, 404],
  [`GET /v2/team/app/manifests/${manifestDigest}`, 401, 401, 401, 401, 200, 200, 200],
  [`HEAD /v2/team/app/manifests/${manifestDigest}`, 401, 401, 401, 401, 200, 200, 200],
  ['PUT /v2/team/app/manifests/2', 401, 401, 401, 401, 401, 400, 400],
  [`DELETE /v2/team/app/manifests/${absent}`, 401, 401, 401, 401, 401, 401, 404],
  ['DELETE /v2/team/app/manifests/none', 401, 401, 401, 401, 401, 401, 404],
  ['POST /v2/team/app/manifests/1', 401, 401, 401, 401, 401, 405, 405],
  [`GET /v2/team/app/referrers/${manifestDigest}`, 401, 401, 401, 401, 200, 200, 200],
  [`PUT /v2/team/app/referrers/${manifestDigest}`, 401, 401, 401, 401, 401, 405, 405],
  [`GET /v2/team/app/blobs/${layerDigest}`, 401, 401, 401, 401, 200, 200, 200],
  [`HEAD /v2/team/app/blobs/${layerDigest}`, 401, 401, 401, 401, 200, 200, 200],
  [`RANGE /v2/team/app/blobs/${layerDigest}`, 401, 401, 401, 401, 206, 206, 206],
  [`GET /v2/team/app/blobs/${absent}`, 401, 401, 401, 401, 404, 404, 404],
  [`DELETE /v2/team/app/blobs/${absent}`, 401, 401, 401, 401, 401, 401, 404],
  ['POST /v2/team/app/blobs/uploads/', 401, 401, 401, 401, 401, 202, 202],
  ['POST /v2/team/app/blobs/uploads', 401, 401, 401, 401, 401, 202, 202],
  [`POST /v2/team/app/blobs/uploads/?mount=${layerDigest}&from=other/app`, 401, 401, 401, 401, 401, 401, 201],
  [`POST /v2/other/new/blobs/uploads/?mount=${layerDigest}&from=team/app`, 401, 401, 401, 401, 401, 401, 201],
  [`POST /v2/other/new2/blobs/uploads/?mount=${layerDigest}`, 401, 401, 401, 202, 401, 401, 202],
  [`GET /v2/team/app/blobs/uploads/${id}`, 401, 401, 401, 401, 404, 404, 404],
  [`HEAD /v2/team/app/blobs/uploads/${id}`, 401, 401, 401, 401, 404, 404, 404],
  [`PATCH /v2/team/app/blobs/uploads/${id}`, 401, 401, 401, 401, 401, 404, 404],
  [`PUT /v2/team/app/blobs/uploads/${id}?digest=${absent}`, 401, 401, 401, 401, 401, 404, 404],
  [`DELETE /v2/team/app/blobs/uploads/${id}`, 401, 401, 401, 401, 401, 401, 404],
  ['GET /v2/team/app/manifests/1?from=other/app', 401, 401, 401, 401, 401, 401, 200],
  ['GET /v2/team/app/manifests/1?ns=ghcr.io', 401, 401, 401, 401, 200, 200, 200],
  ['OPTIONS /', 200, 200, 200, 200, 200, 200, 200],
  ['OPTIONS /v2/', 401, 401, 401, 200, 200, 200, 200],
  ['OPTIONS /v2/_catalog', 401, 401, 401, 401, 401, 401, 200],
  ['OPTIONS /v2/team/app/manifests/1', 401, 401, 401, 200, 200, 200, 200],
  ['OPTIONS /v2/team/none/manifests/1', 401, 401, 401, 200, 200, 200, 200],
  ['OPTIONS /v2/team/app/manifests/1?from=other/app', 401, 401, 401, 200, 401, 401, 200],
  ['PREFLIGHT /', 200, 200, 200, 200, 200, 200, 200],
  ['PREFLIGHT /v2/', 200, 200, 200, 200, 200, 200, 200],
  ['PREFLIGHT /v2/_catalog', 200, 200, 200, 200, 200, 200, 200],
  ['PREFLIGHT /v2/team/app/manifests/1', 200, 200, 200, 200, 200, 200, 200],
  ['PREFLIGHT /v2/team/none/manifests/1?from=other/app', 200, 200, 200, 200, 200, 200, 200],
  ['PREFLIGHT /v2/team/app/nonsense', 401, 401, 401, 404, 404, 404, 404],
  ['PURGE /v2/team/app/manifests/1', 401, 401, 401, 401, 401, 401, 405],
  ['GET /v2/team/app/nonsense', 401, 401, 401, 404, 404, 404, 404],
  ['GET /v2/Team/app/tags/list', 401, 401, 401, 400, 400, 400, 400],
  ['GET /elsewhere', 401, 401, 401, 404, 404, 404, 404],
]

test('T-80: every endpoint answers every client as the table has it, and everyone without rights in the same words', async () => {
  await using app = await startGuarded(['admin', 'other', 'puller', 'pusher'], { policy })
  await askAll(app, clients, /^Basic realm="ours"$/, table)
})

test('T-80: and so it does to whoever comes with what a token gives', async () => {
  await using folder = await temporaryFolder()
  const jwks = join(folder.path, 'keys.json')
  await writeFile(jwks, keySet())
  await using app = await startAppUnderTest({
    storage: { inmemory: {}, delete: { enabled: true } },
    auth: { token: { realm: 'https://auth.test/token', service, issuer, jwks } },
  })
  await askAll(app, owners, /^Bearer realm="https:\/\/auth\.test\/token",service="registry\.test"/, table)
})

test('T-80: and silly to whoever sends anything as to the admin, and to the others as to nobody', async () => {
  await using app = await startAppUnderTest({
    storage: { inmemory: {}, delete: { enabled: true } },
    auth: { silly: { realm: 'https://silly.test/token', service } },
  })
  const anything = { ...clients, 'wrong password': owners['wrong password'], unknown: 'nonsense' }
  const expected = table.map<Row>(([request, ...statuses]) => {
    const [anonymous = 0, admin = 0] = [statuses[0], statuses.at(-1)]
    return [request, anonymous, ...statuses.slice(1).map(() => admin)]
  })
  const challenge = /^Bearer realm="https:\/\/silly\.test\/token",service="registry\.test"(,scope="[^"]+")?$/
  await askAll(app, anything, challenge, expected)
})

/** Words of the table that are no methods. */
const specials: Readonly<Record<string, readonly [method: string, headers: Record<string, string>]>> = {
  RANGE: ['GET', { range: 'bytes=0-1' }],
  PREFLIGHT: ['OPTIONS', { origin: 'https://ui.test', 'access-control-request-method': 'GET' }],
}

async function askAll(
  app: AppUnderTest,
  people: Readonly<Record<keyof typeof clients, string | undefined>>,
  challenge: RegExp,
  expected: readonly Row[],
): Promise<void> {
  await pushImage(app.url, 'team/app', '1', people.admin ?? '')
  await pushImage(app.url, 'other/app', '1', people.admin ?? '')
  const found: Row[] = []
  for (const [request] of expected) {
    const [word = '', path = ''] = request.split(' ')
    const [method, special] = specials[word] ?? [word, {}]
    const statuses: number[] = []
    const refusals = new Set<string>()
    for (const authorization of Object.values(people)) {
      const headers = { ...special, ...(authorization === undefined ? {} : { authorization }) }
      const answer = await ask(`${app.url}${path}`, { method, headers })
      statuses.push(answer.status)
      if (answer.status !== 401) continue
      assert.match(String(answer.headers['www-authenticate']), challenge, request)
      assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0')
      refusals.add(answer.body.toString())
    }
    assert.ok(refusals.size <= 1, `${request}: ${[...refusals].join()}`)
    found.push([request, ...statuses])
  }
  assert.deepEqual(found, expected)
}

test('T-81: a kind of route that is not in the table fails', () => {
  const kinds = new Set<string>()
  for (const [request] of table) {
    const [, path = ''] = request.split(' ')
    try {
      kinds.add(parseRoute(path.replace(/\?.*$/, ''), '/').kind)
    } catch {
      continue // the paths that name nothing
    }
  }
  assert.deepEqual([...kinds].toSorted(), Object.keys(accessRules).toSorted())
})

test('the answer names the rights that are missing, as distribution does', async () => {
  await using app = await startGuarded(['admin'])
  const detailOf = async (method: string, path: string): Promise<unknown> => {
    const { status, body } = await ask(`${app.url}${path}`, { method })
    assert.equal(status, 401)
    const { errors } = JSON.parse(body.toString()) as { errors: [{ code: string; message: string; detail: unknown }] }
    assert.deepEqual([errors[0].code, errors[0].message], ['UNAUTHORIZED', 'authentication required'])
    return errors[0].detail
  }
  const of = (Name: string, Action: string, Type = 'repository'): unknown => ({ Type, Class: '', Name, Action })
  assert.equal(await detailOf('GET', '/v2/'), null)
  assert.deepEqual(await detailOf('GET', '/v2/_catalog'), [of('catalog', '*', 'registry')])
  assert.deepEqual(await detailOf('GET', '/v2/a/b/tags/list'), [of('a/b', 'pull')])
  assert.deepEqual(await detailOf('PUT', '/v2/a/b/manifests/1'), [of('a/b', 'pull'), of('a/b', 'push')])
  assert.deepEqual(await detailOf('DELETE', '/v2/a/b/manifests/1'), [of('a/b', 'delete')])
  assert.deepEqual(await detailOf('POST', `/v2/a/b/blobs/uploads/?mount=${absent}&from=c/d`), [
    of('a/b', 'pull'),
    of('a/b', 'push'),
    of('c/d', 'pull'),
  ])
})

test('T-83: «not there» and «not yours» are one answer but for the name that was asked for, HEAD and Range too', async () => {
  await using app = await startGuarded(['admin', 'other'], { policy })
  await pushImage(app.url, 'team/app', '1', clients.admin)
  const places = [
    'manifests/1',
    `manifests/${manifestDigest}`,
    `blobs/${layerDigest}`,
    'tags/list',
    `referrers/${absent}`,
  ]
  for (const authorization of ['', clients['other user']]) {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      for (const place of places) {
        const headers = { authorization, range: 'bytes=0-0' }
        const answer = async (name: string): Promise<unknown> => {
          const { status, body, headers: got } = await ask(`${app.url}/v2/${name}/${place}`, { method, headers })
          return { status, body: body.toString().replaceAll(name, '…'), got: { ...got, date: undefined } }
        }
        assert.deepEqual(await answer('team/app'), await answer('team/xyz'), `${method} ${place}`)
      }
    }
  }
})

test('T-83: what a browser asks before a page may ask tells it nothing but what the configuration lets pages do', async () => {
  const headers = { 'Access-Control-Allow-Origin': ['https://ui.test'] }
  await using app = await startGuarded(['admin'], {}, { http: { addr: '127.0.0.1:0', draintimeout: '0s', headers } })
  await pushImage(app.url, 'team/app', '1', clients.admin)
  const answer = async (path: string, asked: Record<string, string>): Promise<unknown> => {
    const { status, body, headers: got } = await ask(app.url + path, { method: 'OPTIONS', headers: asked })
    return { status, body: body.toString(), got: { ...got, date: undefined } }
  }
  const [, preflight = {}] = specials['PREFLIGHT'] ?? []
  const said = await ask(`${app.url}/v2/team/app/manifests/1`, { method: 'OPTIONS', headers: preflight })
  assert.equal(said.headers['access-control-allow-origin'], 'https://ui.test')
  assert.equal(said.headers['allow'], 'GET, HEAD, PUT, DELETE')
  const here = await answer('/v2/team/app/manifests/1', preflight)
  for (const path of ['/v2/team/app/manifests/none', '/v2/none/at/all/manifests/1', '/v2/team/app/manifests/1?ns=x']) {
    assert.deepEqual(await answer(path, preflight), here, path)
  }
  for (const name of Object.keys(preflight)) {
    const without = Object.fromEntries(Object.entries(preflight).filter(([other]) => other !== name))
    assert.equal((await ask(`${app.url}/v2/`, { method: 'OPTIONS', headers: without })).status, 401, `no ${name}`)
    assert.equal((await ask(`${app.url}/v2/`, { headers: preflight })).status, 401, 'nor is GET one')
  }
})

test('T-82: a blob that another repository holds is neither read nor mounted without rights there', async () => {
  await using app = await startGuarded(['admin', 'other'], { policy })
  await pushImage(app.url, 'team/app', '1', clients.admin)
  const headers = { authorization: clients['other user'] }
  const blob = `${app.url}/v2/other/app/blobs/${layerDigest}`
  assert.equal((await ask(blob, { headers })).status, 404)
  assert.equal((await ask(blob, { method: 'HEAD', headers })).status, 404)
  // Without `from` the server would look for it itself where nobody has rights to keep apart.
  const uploads = `${app.url}/v2/other/app/blobs/uploads/?mount=${layerDigest}`
  assert.equal((await ask(uploads, { method: 'POST', headers })).status, 202)
  assert.equal((await ask(`${uploads}&from=team/app`, { method: 'POST', headers })).status, 401)
  assert.equal((await ask(`${uploads}&from=TEAM/app`, { method: 'POST', headers })).status, 202)
  assert.equal((await ask(blob, { headers })).status, 404)
})

test('the log says who asked, and why somebody was refused, but not with which password', async () => {
  await using app = await startGuarded(['admin'])
  await ask(`${app.url}/v2/a/tags/list`, { headers: { authorization: clients.admin } })
  await ask(`${app.url}/v2/a/tags/list`, { headers: { authorization: basic('admin', 'asecret') } })
  await app.until((line) => line['status'] === 401)
  const lines = app.lines.filter((line) => line['kind'] === 'tags')
  assert.deepEqual(
    lines.map(({ status, user, refused, repository }) => ({ status, user, refused, repository })),
    [
      { status: 404, user: 'admin', refused: undefined, repository: 'a' },
      { status: 401, user: undefined, refused: 'wrong user or password', repository: 'a' },
    ],
  )
  assert.doesNotMatch(app.text(), /asecret|admin-password|Basic /)
})

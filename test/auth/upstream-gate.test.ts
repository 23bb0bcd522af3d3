// `access: client`: copies of a private upstream are for whoever it lets pull them, and for nobody else.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseTag } from '../../src/oci/reference.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'
import { startOrigin, type Image } from '../support/origin.ts'
import { basic } from './fixture.ts'
import { credentialsOf, pathsOf, pullPrivate, startDoor, startPrivateUpstream, type Door } from './private-upstream.ts'

const strangers = ['bob', 'alice:wrong', 'nobody', undefined]

/** What a client can tell from an answer, but for the name that it asked for and the hour. */
function shapeOf({ status, headers, body }: Answer, name: string): unknown {
  return { status, headers: { ...headers, date: undefined }, body: body.toString().replaceAll(name, '…') }
}

test('P8: what is here of a private repository is served to whoever the upstream lets pull it, and to nobody else', async () => {
  await using door = await startDoor()
  await pullPrivate(door)
  for (const path of pathsOf('priv/team/app', door.image)) {
    assert.equal((await door.as('alice', path)).status, 200, path)
    for (const user of strangers) {
      for (const method of ['GET', 'HEAD', 'DELETE', 'POST']) {
        const answer = await door.as(user, path, { method, headers: { range: 'bytes=0-0' } })
        assert.equal(answer.status, 401, `${user} ${method} ${path}`)
        assert.equal(answer.headers['www-authenticate'], 'Basic realm="the upstream registry"')
        if (method === 'GET') assert.deepEqual(answer.codes, ['UNAUTHORIZED'])
      }
    }
    assert.equal((await door.as('alice', path)).status, 200, path)
  }
})

test('T-83: «not there» and «not yours» are one answer, asked of the upstream in the same way, whatever is here', async () => {
  await using door = await startDoor()
  await pullPrivate(door)
  await door.upstream.origin.addImage('team/new', '1', [Buffer.from('not pulled yet')])
  const { seen } = door.upstream
  for (const user of strangers) {
    for (const what of ['manifests/1', `manifests/${door.image.manifest}`, `blobs/${door.image.config}`, 'tags/list']) {
      const answer = async (name: string): Promise<unknown> => {
        const before = seen.length
        const shape = shapeOf(await door.as(user, `/v2/priv/${name}/${what}`), name)
        return { shape, asked: seen.slice(before).map((line) => line.replaceAll(name, '…')) }
      }
      // The first is here, the second is upstream alone, and the third is nowhere.
      const [here, there, nowhere] = [await answer('team/app'), await answer('team/new'), await answer('none/app')]
      assert.deepEqual(there, nowhere, `${user} ${what}`)
      assert.deepEqual(here, nowhere, `${user} ${what}`)
    }
  }
})

test('what is absent is absent to whoever may pull there, and what is gone is served on to him', async () => {
  await using door = await startDoor()
  assert.deepEqual((await door.as('alice', '/v2/priv/team/app/manifests/none')).codes, ['MANIFEST_UNKNOWN'])
  assert.deepEqual((await door.as(undefined, '/v2/priv/public/app/manifests/none')).codes, ['MANIFEST_UNKNOWN'])
  await pullPrivate(door)
  const { origin } = door.upstream
  const { dial } = origin
  await origin.addImage('team/app', '2', [Buffer.from('a newer layer')])
  // What was pulled is gone there.
  await origin.repository('team/app').tags.forget(parseTag('1'))
  const gone = [door.image.manifest, ...door.image.layers]
  origin.dial = (request) =>
    dial(request) ??
    (gone.some((one) => request.path.endsWith(one)) ? { reply: { status: 404, headers: {} } } : undefined)
  // `carol` may pull there too, and has no verdict yet.
  for (const path of [`manifests/${door.image.manifest}`, `blobs/${door.image.layers[0]}`]) {
    assert.equal((await door.as('carol', `/v2/priv/team/app/${path}`)).status, 200, path)
    assert.equal((await door.as('bob', `/v2/priv/team/app/${path}`)).status, 401, path)
  }
})

test('repositories that the upstream shows to everybody are pulled without credentials, and with any', async () => {
  await using door = await startDoor()
  for (const user of [undefined, ':', 'bob', 'nobody']) {
    const { status } = await door.as(user, '/v2/priv/public/app/manifests/1')
    assert.equal(status, 200, user)
  }
})

test('a verdict is asked for once: not for another’s credentials, nor for another repository', async () => {
  await using door = await startDoor()
  const { seen } = door.upstream
  await pullPrivate(door)
  const asked = async (user: string, path: string): Promise<number> => {
    const before = seen.length
    await door.as(user, path)
    return seen.length - before
  }
  const [manifest = '', ...others] = pathsOf('priv/team/app', door.image)
  for (const path of [manifest, ...others]) assert.equal(await asked('alice', path), 0, path)
  assert.ok((await asked('bob', manifest)) > 0)
  assert.equal(await asked('bob', manifest), 0)
  assert.ok((await asked('alice:wrong', manifest)) > 0)
  assert.ok((await asked('alice', '/v2/priv/other/app/manifests/1')) > 0)
})

test('many who ask at once with the same credentials are one question', async () => {
  await using door = await startDoor()
  const { seen } = door.upstream
  const answers = await Promise.all(
    Array.from({ length: 20 }, async () => await door.as('alice', '/v2/priv/team/app/manifests/1')),
  )
  assert.ok(answers.every(({ status }) => status === 200))
  assert.deepEqual(
    seen.filter((line) => line.startsWith('alice')),
    ['alice HEAD /v2/team/app/manifests/1'],
  )
})

test('while the upstream is down, a verdict counts to its end, and whoever has none hears 503', async () => {
  await using door = await startDoor()
  await pullPrivate(door)
  await door.upstream.origin.stop()
  const path = `/v2/priv/team/app/manifests/${door.image.manifest}`
  assert.equal((await door.as('alice', path)).status, 200)
  for (const user of strangers) {
    const { status, codes } = await door.as(user, path)
    assert.deepEqual([status, codes], [503, ['UNAVAILABLE']], user)
  }
})

test('P8: no secret of a client’s is in a log line or in an answer, and the upstream alone hears it', async () => {
  await using elsewhere = await startPrivateUpstream()
  await using door = await startDoor(
    { mirrors: [{ url: elsewhere.origin.url, trusted: true }] },
    { proxy: { upstreams: { free: { url: elsewhere.origin.url } } } },
  )
  const canary = 'canary-a71c4'
  const { dial } = door.upstream.origin
  // Blobs are told to lie elsewhere: who is sent there brings no credentials along.
  door.upstream.origin.dial = (request) => {
    const fault = dial(request)
    if (fault !== undefined || !request.path.includes('/blobs/')) return fault
    return { reply: { status: 307, headers: { location: `${elsewhere.origin.url}${request.path}` } } }
  }
  const texts: string[] = []
  for (const authorization of [basic(canary, canary), basic('alice', canary), `Bearer ${canary}`, `Digest ${canary}`]) {
    for (const path of [
      '/v2/',
      '/v2/_catalog',
      ...pathsOf('priv/team/app', door.image),
      '/v2/free/public/app/tags/list',
    ]) {
      const { headers, body } = await door.as(undefined, path, { headers: { authorization } })
      texts.push(JSON.stringify(headers), body.toString())
    }
  }
  await door.as('alice', `/v2/priv/team/app/blobs/${door.image.config}`)
  await door.upstream.origin.stop()
  await door.as(`alice:${canary}`, '/v2/priv/team/down/manifests/1')
  await door.app.until((line) => line['status'] === 503)
  const secrets = [canary, basic(canary, canary), basic('alice', canary), 'alice-password', credentialsOf('alice')]
  for (const secret of secrets.map((one) => one.replace('Basic ', ''))) {
    assert.ok(!texts.join().includes(secret))
    assert.ok(!door.app.text().includes(secret))
  }
  assert.deepEqual([...elsewhere.shown], [])
  assert.ok(door.upstream.shown.has(basic('alice', canary)))
})

test('copies are fetched with our own credentials, and what a client may do there is asked with his', async () => {
  await using door = await startDoor()
  await pullPrivate(door)
  const gets = door.upstream.seen.filter((line) => line.includes(' GET ') && !line.startsWith('- '))
  assert.deepEqual(new Set(gets.map((line) => line.split(' ')[0])), new Set(['us']))
})

test('the catalog does not name repositories that not everybody may see', async () => {
  await using free = await startOrigin()
  await free.addImage('some/app', '1', [Buffer.from('x')])
  await using door = await startDoor({}, { proxy: { upstreams: { free: { url: free.url } } } })
  await pullPrivate(door)
  await ask(`${door.app.url}/v2/free/some/app/manifests/1`)
  for (const user of ['alice', 'bob', undefined]) {
    const { body } = await door.as(user, '/v2/_catalog')
    assert.deepEqual(JSON.parse(body.toString()), { repositories: ['free/some/app'] })
  }
})

async function pushNaming(door: Door, digest: string, size: number): Promise<Answer> {
  const config = Buffer.from('{}')
  const target = `/v2/local/own/blobs/uploads/?digest=${digestOf(config)}`
  assert.equal((await door.as('bob', target, { method: 'POST', body: config })).status, 201)
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociImageConfig, digest: digestOf(config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size }],
  }
  const headers = { 'content-type': mediaTypes.ociManifest }
  return await door.as('bob', '/v2/local/own/manifests/1', { method: 'PUT', headers, body: JSON.stringify(document) })
}

test('T-82: nobody mounts a private blob without rights to it, with or without naming where it is, nor pushes its name', async () => {
  await using door = await startDoor()
  await pullPrivate(door)
  const [layer = ''] = door.image.layers
  const mount = `/v2/local/own/blobs/uploads/?mount=${layer}`
  assert.equal((await door.as('bob', mount, { method: 'POST' })).status, 202)
  assert.equal((await door.as('bob', `${mount}&from=priv/team/app`, { method: 'POST' })).status, 401)
  assert.equal((await door.as(undefined, `${mount}&from=priv/team/app`, { method: 'POST' })).status, 401)
  assert.deepEqual((await pushNaming(door, layer, 15)).codes, ['MANIFEST_BLOB_UNKNOWN'])
  assert.equal((await door.as('bob', `/v2/local/own/blobs/${layer}`)).status, 404)
  assert.equal((await door.as('alice', `${mount}&from=priv/team/app`, { method: 'POST' })).status, 201)
})

test('a private blob is not given away by a manifest of another upstream that names it', async () => {
  await using free = await startOrigin()
  await using door = await startDoor({}, { proxy: { upstreams: { free: { url: free.url } } } })
  await pullPrivate(door)
  const [layer = '' as Image['config']] = door.image.layers
  const config = await free.addBlob('evil/app', Buffer.from('{}'))
  await free.addManifest('evil/app', '1', {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociImageConfig, digest: config, size: 2 },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer, size: 15 }],
  })
  assert.equal((await door.as('bob', '/v2/free/evil/app/manifests/1')).status, 200)
  for (const method of ['GET', 'HEAD']) {
    assert.equal((await door.as('bob', `/v2/free/evil/app/blobs/${layer}`, { method })).status, 404)
  }
  await free.addBlob('good/app', Buffer.from('a private layer')) // it has the same one, and says so
  assert.equal((await door.as('bob', `/v2/free/good/app/blobs/${layer}`)).status, 200)
})

test('one client’s credentials are never shown to two upstreams', async () => {
  await using second = await startPrivateUpstream()
  const more = { url: second.origin.url, access: 'client', username: 'us', password: 'us-password' }
  await using door = await startDoor({}, { proxy: { upstreams: { more } } })
  const path = `/v2/priv/team/app/blobs/uploads/?mount=${door.image.config}&from=more/team/app`
  const { seen } = door.upstream
  const before = seen.length
  assert.equal((await door.as('alice', path, { method: 'POST' })).status, 401)
  assert.deepEqual([seen.slice(before), second.seen], [[], []])
})

test('at the door clients are asked for credentials where no upstream goes without, else they are told that some help', async () => {
  await using every = await startDoor()
  await using free = await startOrigin()
  await using some = await startDoor({}, { proxy: { upstreams: { free: { url: free.url } } } })
  const greet = async (door: Door, user?: string): Promise<unknown> => {
    const { status, headers } = await door.as(user, '/v2/')
    return [status, headers['www-authenticate']]
  }
  const challenge = 'Basic realm="the upstream registry"'
  assert.deepEqual(await greet(every), [401, challenge])
  assert.deepEqual(await greet(every, 'alice'), [200, undefined])
  assert.deepEqual(await greet(some), [200, challenge])
})

test('a repository is decided about by whichever of its names it is asked for', async () => {
  await using door = await startDoor({ default: true })
  await pullPrivate(door)
  for (const path of [
    '/v2/team/app/manifests/1',
    '/v2/team/app/manifests/1?ns=priv',
    '/v2/priv/team/app/manifests/1?ns=priv',
  ]) {
    assert.equal((await door.as('bob', path)).status, 401, path)
    assert.equal((await door.as('alice', path)).status, 200, path)
  }
  assert.equal((await door.as('alice', '/v2/team/app/manifests/1?ns=priv&ns=priv')).status, 404)
  assert.equal((await door.as('alice', '/v2/team/app/manifests/1?ns=elsewhere')).status, 404)
})

test('a blob is proof for nothing but itself, also where the request says that it is mounted from the same repository', async () => {
  await using door = await startDoor({ default: true })
  await pullPrivate(door)
  const { origin } = door.upstream
  const { dial } = origin
  origin.dial = (request) => (request.path.includes('/team/app/blobs/') ? undefined : dial(request))
  const [layer = ''] = door.image.layers
  assert.equal((await door.as('bob', `/v2/priv/team/app/blobs/${layer}`)).status, 200)
  for (const query of ['', `?from=team/app&mount=${layer}`]) {
    const path = `/v2/priv/team/app/manifests/1${query}`
    assert.equal((await door.as('bob', path)).status, 401, path)
    assert.equal((await door.as('alice', path)).status, 200, path)
  }
})

test('a module that leads pulls elsewhere leads nobody into a repository that he was not asked about for', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'module.ts')
  const led = `export const route = ({ repository }) => repository.startsWith('public/') ? { repository: 'team/app' } : undefined`
  await writeFile(path, led)
  const middleware = { registry: [{ name: 'module', options: { path } }], repository: [] }
  await using door = await startDoor({}, { middleware })
  await pullPrivate(door)
  for (const user of ['alice', 'bob', undefined]) {
    const { status } = await door.as(user, `/v2/priv/public/app/manifests/${door.image.manifest}`)
    assert.equal(status, 404, user)
  }
  assert.equal((await door.as('alice', '/v2/priv/team/app/manifests/1')).status, 200)
})

test('the bytes that arrive are those of the upstream', async () => {
  await using door = await startDoor()
  const bytes = randomBytes(100_000)
  const digest = await door.upstream.origin.addBlob('team/app', bytes)
  const { body } = await door.as('alice', `/v2/priv/team/app/blobs/${digest}`)
  assert.equal(`sha256:${createHash('sha256').update(body).digest('hex')}`, digest)
})

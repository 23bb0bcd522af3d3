import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { CallerCredentials, CallerVerdict, AskedObject } from '../../src/registry/caller-rights.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { UpstreamCallerRights } from '../../src/upstream/caller-rights.ts'
import { basicAuthorization } from '../../src/upstream/credentials.ts'
import { reply, scriptedServer, type ReceivedRequest, type ScriptedServer } from '../support/scripted-server.ts'
import { blobDigest, canary, failure, latest, manifestDigest, name } from './fixture.ts'

function rightsAt(url: URL, realms: readonly URL[] = []): UpstreamCallerRights {
  const timeouts = { connect: 2000, firstByte: 2000, idle: 2000 }
  return new UpstreamCallerRights({ url, realms, timeouts, userAgent: 'entrepot/test', logger: silentLogger })
}

const alice = { kind: 'password', username: 'alice', password: 'right' } as const
const nobody: CallerCredentials = { kind: 'anonymous' }
const tag: AskedObject = { kind: 'tag', tag: latest }
const blob: AskedObject = { kind: 'blob', digest: blobDigest }

/** Answers by `METHOD what`: a status, 200 with what belongs to it. */
function answering(
  statusOf: (what: string, request: ReceivedRequest) => number,
): (request: ReceivedRequest, response: Parameters<typeof reply>[0]) => void {
  return (request, response) => {
    const what = `${request.method} ${request.path.replace(`/v2/${name}/`, '')}`
    const status = statusOf(what, request)
    if (status === 401) return reply(response, 401, { 'www-authenticate': 'Basic realm="x"' })
    if (status !== 200) return reply(response, status)
    if (what === 'GET tags/list') return reply(response, 200, {}, { name, tags: [latest] })
    response.writeHead(200, {
      'content-length': '10',
      'content-type': 'application/vnd.oci.image.index.v1+json',
      'docker-content-digest': what.includes('blobs/') ? blobDigest : manifestDigest,
    })
    response.end()
  }
}

async function asked(
  server: ScriptedServer,
  object: AskedObject | undefined,
  credentials: CallerCredentials = alice,
): Promise<{ verdict: CallerVerdict; log: string[] }> {
  await using rights = rightsAt(server.url)
  const before = server.requests.length
  const verdict = await rights.ask({ repository: parseRepositoryName(name), object, credentials })
  const log = server.requests.slice(before).map(({ method, path }) => `${method} ${path.replace(`/v2/${name}/`, '')}`)
  return { verdict, log }
}

test('a manifest that the client is shown is a yes for the repository, a blob for itself', async () => {
  await using server = await scriptedServer(answering(() => 200))
  assert.deepEqual(await asked(server, tag), {
    verdict: { mayPull: true, isForAll: true },
    log: [`HEAD manifests/${latest}`],
  })
  assert.deepEqual((await asked(server, { kind: 'manifest', digest: manifestDigest })).verdict, {
    mayPull: true,
    isForAll: true,
  })
  assert.deepEqual(await asked(server, blob), {
    verdict: { mayPull: true, isForAll: false },
    log: [`HEAD blobs/${blobDigest}`],
  })
})

test('of what is absent, and of nothing in particular, some manifest of the repository is the proof', async () => {
  await using server = await scriptedServer(answering((what) => (what.includes('blobs/') ? 404 : 200)))
  const proof = ['GET tags/list', `HEAD manifests/${latest}`]
  assert.deepEqual(await asked(server, blob), {
    verdict: { mayPull: true, isForAll: true },
    log: [`HEAD blobs/${blobDigest}`, ...proof],
  })
  assert.deepEqual(await asked(server, undefined), { verdict: { mayPull: true, isForAll: true }, log: proof })
})

test('that somebody may list tags does not mean that he may pull', async () => {
  await using server = await scriptedServer(answering((what) => (what === 'GET tags/list' ? 200 : 403)))
  const { verdict } = await asked(server, tag)
  assert.deepEqual(verdict, { mayPull: false, isForAll: false })
})

test('T-83: every no takes the same questions', async () => {
  for (const status of [400, 403, 404, 405, 410]) {
    await using server = await scriptedServer(answering((what) => (what.startsWith('HEAD') ? status : 404)))
    const { verdict, log } = await asked(server, blob)
    assert.equal(verdict.mayPull, false)
    const usual = log.filter((line) => !line.startsWith('GET blobs/')) // where HEAD is of no use, a byte is asked for
    assert.deepEqual(usual, [`HEAD blobs/${blobDigest}`, 'GET tags/list'])
  }
})

test('wrong credentials are shown once, whatever is asked, and the next one’s right ones are not taken for them', async () => {
  const right = basicAuthorization('alice', 'right')
  await using server = await scriptedServer(answering((_, { authorization }) => (authorization === right ? 200 : 401)))
  await using rights = rightsAt(server.url)
  const repository = parseRepositoryName(name)
  const ask = async (password: string): Promise<CallerVerdict> =>
    await rights.ask({ repository, object: tag, credentials: { kind: 'password', username: 'alice', password } })
  assert.deepEqual(await ask('wrong'), { mayPull: false, isForAll: true })
  assert.equal(server.requests.filter(({ authorization }) => authorization !== undefined).length, 1)
  assert.deepEqual(await ask('right'), { mayPull: true, isForAll: true })
  assert.deepEqual(await ask('wrong'), { mayPull: false, isForAll: true })
  assert.equal((await rights.ask({ repository, object: tag, credentials: nobody })).mayPull, false)
})

test('P8: a token that one client’s credentials were given is never another’s, also of the same user', async () => {
  await using server = await scriptedServer((request, response) => {
    const { path, authorization } = request
    if (path === '/token') {
      const isRight = authorization === basicAuthorization('alice', 'right')
      return reply(response, 200, {}, { token: isRight ? 'good' : 'empty' }) // as Docker Hub: a token in any case
    }
    if (authorization === 'Bearer good') return answering(() => 200)(request, response)
    reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token",service="s"` })
  })
  await using rights = rightsAt(server.url)
  const ask = async (credentials: CallerCredentials): Promise<boolean> =>
    (await rights.ask({ repository: parseRepositoryName(name), object: tag, credentials })).mayPull
  assert.equal(await ask(alice), true)
  assert.equal(await ask({ ...alice, password: 'wrong' }), false)
  assert.equal(await ask(nobody), false)
  assert.equal(await ask(alice), true)
  assert.equal(await ask({ kind: 'registry-token', token: 'good' }), true)
  assert.equal(await ask({ kind: 'registry-token', token: 'bad' }), false)
})

test('P8: credentials go to the upstream and to no realm or host that it names by itself', async () => {
  await using elsewhere = await scriptedServer((request, response) => answering(() => 200)(request, response))
  await using server = await scriptedServer((request, response) => {
    if (request.path.includes('/manifests/')) {
      return reply(response, 307, { location: `${elsewhere.url.origin}${request.path}` })
    }
    reply(response, 401, { 'www-authenticate': `Bearer realm="${elsewhere.url.origin}/token"` })
  })
  await using rights = rightsAt(server.url)
  const secret: CallerCredentials = { kind: 'password', username: 'alice', password: canary }
  const ask = async (object: AskedObject | undefined): Promise<CallerVerdict> =>
    await rights.ask({ repository: parseRepositoryName(name), object, credentials: secret })
  assert.equal((await ask(tag)).mayPull, true)
  await failure(ask(undefined), 'invalid')
  assert.ok(elsewhere.requests.length > 0)
  assert.ok(elsewhere.requests.every(({ authorization }) => authorization === undefined))
})

test('an upstream that fails, is rate-limited or makes no sense says neither yes nor no', async () => {
  for (const [status, kind] of [
    [503, 'unavailable'],
    [429, 'rate-limited'],
  ] as const) {
    await using server = await scriptedServer(answering(() => status))
    await failure(asked(server, tag), kind)
  }
  await using server = await scriptedServer((_, response) =>
    reply(response, 200, { 'content-type': 'text/html' }, 'hi'),
  )
  await failure(asked(server, tag), 'invalid')
})

test('one who has asked too much holds nobody else back', async () => {
  const limited = basicAuthorization('alice', 'right')
  await using server = await scriptedServer(
    answering((_, { authorization }) => (authorization === undefined ? 401 : authorization === limited ? 429 : 200)),
  )
  await using rights = rightsAt(server.url)
  const ask = async (credentials: CallerCredentials): Promise<CallerVerdict> =>
    await rights.ask({ repository: parseRepositoryName(name), object: tag, credentials })
  await failure(ask(alice), 'rate-limited')
  assert.equal((await ask({ kind: 'password', username: 'bob', password: 'b' })).mayPull, true)
})

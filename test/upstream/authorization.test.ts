import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import {
  basicAuthorization,
  ConfiguredCredentials,
  CredentialsError,
  fixedCredentials,
  type Credentials,
} from '../../src/upstream/credentials.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { reply, scriptedServer, type ReceivedRequest, type ScriptedServer } from '../support/scripted-server.ts'
import { canary, failure, latest, manifest, manifestDigest, name, password, upstreamAt } from './fixture.ts'

const basic = `Basic ${Buffer.from(`alice:${canary}`).toString('base64')}`

interface TokenRegistryOptions {
  /** Where the challenge sends us; the registry's own `/token` without it. */
  readonly realm?: () => string
  readonly token?: (request: ReceivedRequest, response: ServerResponse) => void
  /** What is let in; any token without it. */
  readonly accepts?: (authorization: string | undefined) => boolean
}

/** A registry that wants a bearer token, and gives them out itself at `/token`. */
async function tokenRegistry(options: TokenRegistryOptions = {}): Promise<ScriptedServer> {
  const accepts = options.accepts ?? ((authorization): boolean => authorization?.startsWith('Bearer ') === true)
  const server: ScriptedServer = await scriptedServer((request, response) => {
    if (request.path === '/token') {
      if (options.token !== undefined) options.token(request, response)
      else reply(response, 200, {}, { token: `for ${request.query.get('scope')}`.replaceAll(' ', '-') })
    } else if (accepts(request.authorization)) {
      reply(response, 200, {}, manifest)
    } else {
      const realm = options.realm?.() ?? `${server.url.origin}/token?rid=7`
      const challenge = `Bearer realm="${realm}",service="registry",scope="repository:user/image:pull"`
      reply(response, 401, { 'www-authenticate': challenge }, { errors: [{ code: 'UNAUTHORIZED' }] })
    }
  })
  return server
}

function tokenRequests(server: ScriptedServer): ReceivedRequest[] {
  return server.requests.filter(({ path }) => path === '/token')
}

test('an anonymous token is asked for our own scope, once, and sent at once from then on', async () => {
  await using server = await tokenRegistry()
  await using upstream = upstreamAt(server.url)
  const { manifests, tags } = upstream.repository(name)
  await manifests.get(manifestDigest)
  await tags.get(latest)
  await upstream.repository(parseRepositoryName('other')).manifests.get(manifestDigest)
  assert.deepEqual(server.log(), [
    `GET /v2/library/alpine/manifests/${manifestDigest}`,
    'GET /token?rid=7&service=registry&scope=repository%3Alibrary%2Falpine%3Apull',
    `GET /v2/library/alpine/manifests/${manifestDigest}`,
    'GET /v2/library/alpine/manifests/latest',
    'GET /token?rid=7&service=registry&scope=repository%3Aother%3Apull',
    `GET /v2/other/manifests/${manifestDigest}`,
  ])
  assert.equal(server.requests[2]?.authorization, 'Bearer for-repository:library/alpine:pull')
  assert.ok(tokenRequests(server).every(({ authorization }) => authorization === undefined))
})

test('P4: twenty requests that need a token fetch one', async () => {
  await using server = await tokenRegistry()
  await using upstream = upstreamAt(server.url)
  const { manifests } = upstream.repository(name)
  await Promise.all(Array.from({ length: 20 }, async () => await manifests.get(manifestDigest)))
  assert.equal(tokenRequests(server).length, 1)
})

test('a path before /v2/ is kept', async () => {
  await using server = await tokenRegistry()
  await using upstream = upstreamAt(new URL('/v2/prefix/', server.url))
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.equal(server.requests[2]?.path, `/v2/prefix/v2/library/alpine/manifests/${manifestDigest}`)
  assert.equal(tokenRequests(server)[0]?.query.get('scope'), 'repository:library/alpine:pull')
})

test('a password goes to the token server of the registry itself, as Basic, and not to the registry', async () => {
  await using server = await tokenRegistry()
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await upstream.repository(name).manifests.get(manifestDigest)
  const [request] = tokenRequests(server)
  assert.equal(request?.authorization, basic)
  assert.equal(request?.query.get('account'), 'alice')
  assert.ok(server.requests.every(({ path, authorization }) => path === '/token' || authorization !== basic))
})

test('a token server without GET is asked by POST', async () => {
  await using server = await tokenRegistry({
    token: (request, response) =>
      request.method === 'POST' ? reply(response, 200, {}, { access_token: 'posted' }) : reply(response, 405),
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await upstream.repository(name).manifests.get(manifestDigest)
  const form = new URLSearchParams(tokenRequests(server)[1]?.body)
  assert.deepEqual(Object.fromEntries(form), {
    grant_type: 'password',
    username: 'alice',
    password: canary,
    client_id: 'entrepot',
    scope: 'repository:library/alpine:pull',
    service: 'registry',
  })
})

test('an identity token is exchanged by POST', async () => {
  await using server = await tokenRegistry()
  const credentials = fixedCredentials({ kind: 'identity-token', token: 'refresh-me' })
  await using upstream = upstreamAt(server.url, { credentials })
  await upstream.repository(name).manifests.get(manifestDigest)
  const [request] = tokenRequests(server)
  assert.equal(request?.method, 'POST')
  const form = new URLSearchParams(request?.body)
  assert.equal(form.get('grant_type'), 'refresh_token')
  assert.equal(form.get('refresh_token'), 'refresh-me')
})

test('a registry token is shown as it is', async () => {
  await using server = await tokenRegistry({ accepts: (authorization) => authorization === 'Bearer ready' })
  const credentials = fixedCredentials({ kind: 'registry-token', token: 'ready' })
  await using upstream = upstreamAt(server.url, { credentials })
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.equal(tokenRequests(server).length, 0)
})

test('a Basic challenge is answered with the password, in UTF-8, and from then on at once', async () => {
  const expected = `Basic ${Buffer.from('alice:pässword').toString('base64')}`
  await using server = await scriptedServer(({ authorization }, response) => {
    if (authorization === expected) reply(response, 200, {}, manifest)
    else reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
  })
  await using upstream = upstreamAt(server.url, { credentials: password('pässword') })
  const { manifests } = upstream.repository(name)
  await manifests.get(manifestDigest)
  await manifests.get(manifestDigest)
  assert.equal(server.requests.length, 3)
})

test('Bearer is preferred to Basic', async () => {
  await using server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    const challenges = ['Basic realm="r"', `Bearer realm="${server.url.origin}/token"`]
    if (path === '/token') reply(response, 200, {}, { token: 'a-token' })
    else if (authorization === 'Bearer a-token') reply(response, 200, {}, manifest)
    else reply(response, 401, { 'www-authenticate': challenges })
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await upstream.repository(name).manifests.get(manifestDigest)
})

test('a 401 without a challenge is explained by /v2/', async () => {
  await using server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    if (path === '/token') reply(response, 200, {}, { token: 'a-token' })
    else if (path === '/v2/') reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token"` })
    else if (authorization === 'Bearer a-token') reply(response, 200, {}, manifest)
    else reply(response, 401)
  })
  await using upstream = upstreamAt(server.url)
  await upstream.repository(name).manifests.get(manifestDigest)
})

test('T-20: a token that is no longer accepted is renewed', async () => {
  let count = 0
  await using server = await tokenRegistry({
    token: (_request, response) => reply(response, 200, {}, { token: `t${(count += 1)}`, expires_in: 3600 }),
    accepts: (authorization) => authorization === `Bearer t${count}` && count !== 0,
  })
  await using upstream = upstreamAt(server.url)
  const { manifests } = upstream.repository(name)
  await manifests.get(manifestDigest)
  count += 1 // t1 is revoked
  await manifests.get(manifestDigest)
  assert.equal(tokenRequests(server).length, 2)
})

test('a challenge that changes is followed', async () => {
  await using moved = await tokenRegistry()
  let realm = (): string => `${server.url.origin}/token`
  let accepted = /^Bearer for-/
  await using server: ScriptedServer = await tokenRegistry({
    realm: () => realm(),
    accepts: (authorization) => accepted.test(authorization ?? ''),
    token: (_request, response) => reply(response, 200, {}, { token: 'old' }),
  })
  accepted = /^Bearer old$/
  await using upstream = upstreamAt(server.url)
  await upstream.repository(name).manifests.get(manifestDigest)
  realm = (): string => `${moved.url.origin}/token`
  accepted = /^Bearer for-/
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.equal(tokenRequests(moved).length, 1)
})

test('Harbor: a repository that is not ours is denied, and nothing else; a token that died early is had anew', async () => {
  let key = 1
  await using server = await scriptedServer((request, response) => {
    const { authorization, path, query } = request
    const may = query.get('scope')?.includes(':mine/') === true ? 'mine' : 'none'
    if (path === '/token') reply(response, 200, {}, { token: `${may}-${key}`, expires_in: 1800 })
    else if (authorization === `Bearer mine-${key}` && path.startsWith('/v2/mine/')) reply(response, 200, {}, manifest)
    else {
      const bearer = `Bearer realm="${server.url.origin}/token",service="harbor-registry"`
      const challenge = authorization === undefined ? bearer : 'Basic realm="harbor"'
      reply(response, 401, { 'www-authenticate': challenge }, { errors: [{ code: 'UNAUTHORIZED' }] })
    }
  })
  for (const credentials of [password(), undefined]) {
    await using upstream = upstreamAt(server.url, credentials === undefined ? {} : { credentials })
    const mine = upstream.repository(parseRepositoryName('mine/app')).manifests
    const theirs = upstream.repository(parseRepositoryName('theirs/app')).manifests
    await mine.get(manifestDigest)
    await failure(theirs.get(manifestDigest), 'denied')
    await mine.get(manifestDigest)
    key += 1
    await mine.get(manifestDigest)
  }
  const shown = server.requests.filter(({ path, authorization }) => path !== '/token' && authorization === basic)
  assert.deepEqual(shown, [], 'no password goes to the registry')
})

test('a registry that has moved from tokens to Basic is followed', async () => {
  let isBasic = false
  await using server = await scriptedServer(({ authorization, path }, response) => {
    if (path === '/token') reply(response, 200, {}, { token: 't' })
    else if (authorization === (isBasic ? basic : 'Bearer t')) reply(response, 200, {}, manifest)
    else {
      const challenge = isBasic ? 'Basic realm="r"' : `Bearer realm="${server.url.origin}/token"`
      reply(response, 401, { 'www-authenticate': challenge })
    }
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  const { manifests } = upstream.repository(name)
  await manifests.get(manifestDigest)
  isBasic = true
  await failure(manifests.get(manifestDigest), 'denied')
  await manifests.get(manifestDigest)
})

test('an identity token that has expired is asked for again at its source', async () => {
  let current = 'old'
  const refused: Credentials[] = []
  const source = {
    get: async (): Promise<Credentials> => ({ kind: 'identity-token', token: current }),
    refused: (credentials: Credentials) => {
      refused.push(credentials)
      current = 'new'
    },
  }
  await using server = await tokenRegistry({
    token: ({ body }, response) =>
      new URLSearchParams(body).get('refresh_token') === 'new'
        ? reply(response, 200, {}, { access_token: 't' })
        : reply(response, 400, {}, { error: 'invalid_grant' }),
  })
  await using upstream = upstreamAt(server.url, { credentials: source })
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.deepEqual(refused, [{ kind: 'identity-token', token: 'old' }])
})

test('a token server that has gone away is forgotten', async () => {
  let realm = ''
  await using server = await tokenRegistry({ realm: () => realm })
  await using upstream = upstreamAt(server.url)
  {
    await using old = await tokenRegistry()
    realm = `${old.url.origin}/token`
    await upstream.repository(name).manifests.get(manifestDigest)
  }
  realm = `${server.url.origin}/token`
  const other = upstream.repository(parseRepositoryName('other')).manifests
  await failure(other.get(manifestDigest), 'unreachable')
  await other.get(manifestDigest)
})

test('T-20, P7: a registry that refuses its own tokens is asked twice, not for ever', async () => {
  let count = 0
  await using server = await tokenRegistry({
    token: (_request, response) => reply(response, 200, {}, { token: `t${(count += 1)}` }),
    accepts: () => false,
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'denied')
  assert.equal(error.status, 401)
  assert.equal(server.requests.length - tokenRequests(server).length, 2)
  assert.equal(tokenRequests(server).length, 1)
})

test('Basic credentials that the registry refuses are said to be refused', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 401, { 'www-authenticate': 'Basic realm="r"' }),
  )
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'credentials-refused')
  await using nobody = upstreamAt(server.url)
  await failure(nobody.repository(name).manifests.get(manifestDigest), 'denied')
})

test('refused credentials are asked for again at their source, and used where they are others', async () => {
  const refused: Credentials[] = []
  const source = {
    get: async (): Promise<Credentials> => ({
      kind: 'password',
      username: 'alice',
      password: refused.length === 0 ? 'old' : canary,
    }),
    refused: (credentials: Credentials) => void refused.push(credentials),
  }
  await using server = await tokenRegistry({
    token: ({ authorization }, response) =>
      authorization === basic ? reply(response, 200, {}, { token: 't' }) : reply(response, 401),
  })
  await using upstream = upstreamAt(server.url, { credentials: source })
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.equal(refused.length, 1)
})

test('Basic credentials that have run out are asked for again at their source, where the registry answers 403', async () => {
  let known = canary
  let refused = 0
  const source = {
    get: async (): Promise<Credentials> => ({ kind: 'password', username: 'alice', password: known }),
    refused: (): void => {
      refused += 1
      known = current
    },
  }
  let current = canary
  await using server = await scriptedServer(({ authorization }, response) => {
    if (authorization === undefined) reply(response, 401, { 'www-authenticate': 'Basic realm="ecr"' })
    else if (authorization === basicAuthorization('alice', current)) reply(response, 200, {}, manifest)
    else reply(response, 403, {}, { errors: [{ code: 'DENIED', message: 'Your authorization token has expired.' }] })
  })
  await using upstream = upstreamAt(server.url, { credentials: source })
  const { manifests } = upstream.repository(name)
  await manifests.get(manifestDigest)
  current = `${canary}-renewed`
  await manifests.get(manifestDigest)
  await manifests.get(manifestDigest)
  assert.equal(refused, 1)
  assert.equal(server.requests.length, 5)
})

test('Basic credentials that are good, but not for this, are shown once each time', async () => {
  await using server = await scriptedServer(({ authorization }, response) => {
    if (authorization === undefined) reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
    else reply(response, 403, {}, { errors: [{ code: 'DENIED' }] })
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  for (const requests of [2, 3]) {
    const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'denied')
    assert.match(error.message, /answered 403 \(DENIED\)/)
    assert.equal(server.requests.length, requests)
  }
})

test('P10: credentials that cannot be had are an error that names the registry', async () => {
  await using server = await tokenRegistry()
  const credentials = {
    get: async (): Promise<Credentials> => await Promise.reject(new CredentialsError('the helper is not installed')),
    refused: (): void => {},
  }
  await using upstream = upstreamAt(server.url, { credentials })
  const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'credentials-refused')
  assert.equal(error.message, `no credentials for ${server.host}: the helper is not installed`)
})

const tokenFailures: ReadonlyArray<{
  why: string
  answer: (response: ServerResponse) => void
  anonymous: Parameters<typeof failure>[1]
  secret: Parameters<typeof failure>[1]
}> = [
  { why: 'answers 401', answer: (to) => reply(to, 401), anonymous: 'denied', secret: 'credentials-refused' },
  { why: 'answers 403', answer: (to) => reply(to, 403), anonymous: 'denied', secret: 'denied' },
  { why: 'answers 429', answer: (to) => reply(to, 429), anonymous: 'rate-limited', secret: 'rate-limited' },
  { why: 'answers 503', answer: (to) => reply(to, 503), anonymous: 'unavailable', secret: 'unavailable' },
  { why: 'answers 400', answer: (to) => reply(to, 400), anonymous: 'invalid', secret: 'invalid' },
  { why: 'redirects', answer: (to) => reply(to, 307, { location: '/v2/' }), anonymous: 'invalid', secret: 'invalid' },
  { why: 'sends HTML', answer: (to) => reply(to, 200, {}, '<html>'), anonymous: 'invalid', secret: 'invalid' },
  { why: 'sends no token', answer: (to) => reply(to, 200, {}, {}), anonymous: 'invalid', secret: 'invalid' },
  {
    why: 'sends a token with a line break',
    answer: (to) => reply(to, 200, {}, { token: `x\r\nx-canary: ${canary}` }),
    anonymous: 'invalid',
    secret: 'invalid',
  },
  {
    why: 'sends 10 MiB',
    answer: (to) => reply(to, 200, {}, { token: canary.repeat(1_000_000) }),
    anonymous: 'invalid',
    secret: 'invalid',
  },
  {
    why: 'hangs up',
    answer: (to) => void to.socket?.destroy(),
    anonymous: 'unavailable',
    secret: 'unavailable',
  },
]

for (const { why, answer, anonymous, secret } of tokenFailures) {
  test(`T-20, P8, P10: a token server that ${why} is an honest error that gives nothing away`, async () => {
    await using server = await tokenRegistry({ token: (_request, response) => answer(response) })
    await using nobody = upstreamAt(server.url)
    await failure(nobody.repository(name).manifests.get(manifestDigest), anonymous)
    await using alice = upstreamAt(server.url, { credentials: password() })
    await failure(alice.repository(name).manifests.get(manifestDigest), secret)
  })
}

test('P7: refused credentials are shown to the token server once in a while, not with every request', async () => {
  for (const status of [401, 403]) {
    await using server = await tokenRegistry({ token: (_request, response) => reply(response, status) })
    await using upstream = upstreamAt(server.url, { credentials: password() })
    const { manifests } = upstream.repository(name)
    const expected = status === 401 ? 'credentials-refused' : 'denied'
    for (let request = 0; request < 20; request += 1) await failure(manifests.get(manifestDigest), expected)
    assert.equal(tokenRequests(server).length, 1)
  }
})

test('a token server that is down is asked again by the next request', async () => {
  await using server = await tokenRegistry({ token: (_request, response) => reply(response, 503) })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  for (let request = 0; request < 3; request += 1) {
    await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  }
  assert.equal(tokenRequests(server).length, 3)
})

test('P7: refused Basic credentials are shown to the registry once in a while', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 401, { 'www-authenticate': 'Basic realm="r"' }),
  )
  await using upstream = upstreamAt(server.url, { credentials: password() })
  for (let request = 0; request < 20; request += 1) {
    await failure(upstream.repository(name).manifests.get(manifestDigest), 'credentials-refused')
  }
  assert.equal(server.requests.filter(({ authorization }) => authorization === basic).length, 1)
})

test('credentials that have changed since they were refused are tried at once', async () => {
  let secret = 'old'
  const source = {
    get: async (): Promise<Credentials> => ({ kind: 'password', username: 'alice', password: secret }),
    refused: (): void => {},
  }
  await using server = await tokenRegistry({
    token: ({ authorization }, response) =>
      authorization === basic ? reply(response, 200, {}, { token: 't' }) : reply(response, 401),
  })
  await using upstream = upstreamAt(server.url, { credentials: source })
  const { manifests } = upstream.repository(name)
  await failure(manifests.get(manifestDigest), 'credentials-refused')
  secret = canary
  await manifests.get(manifestDigest)
})

test('P7: a repository that is not for everyone costs one token, and one request each time it is asked for', async () => {
  await using server = await tokenRegistry({ accepts: () => false })
  await using upstream = upstreamAt(server.url)
  for (let request = 0; request < 20; request += 1) {
    await failure(upstream.repository(name).manifests.get(manifestDigest), 'denied')
  }
  assert.equal(tokenRequests(server).length, 1)
  assert.equal(server.requests.length, 1 + 1 + 20)
})

test('P7: a token server that never answers is given up', async () => {
  await using server = await tokenRegistry({ token: () => {} })
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 50, firstByte: 50, idle: 50 } })
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'timeout')
})

test('T-60, P8: credentials never go to a foreign token server, nor into errors and logs', async () => {
  await using sink = await scriptedServer((_request, response) => reply(response, 200, {}, { token: 't' }))
  await using server = await tokenRegistry({ realm: () => `${sink.url.origin}/token?x=${canary}` })
  const sources = [
    password(),
    fixedCredentials({ kind: 'identity-token', token: canary }),
    fixedCredentials({ kind: 'registry-token', token: canary }),
  ]
  for (const credentials of sources) {
    const recording = recordingLogger()
    await using upstream = upstreamAt(server.url, { credentials, logger: recording.logger })
    await upstream
      .repository(name)
      .manifests.get(manifestDigest)
      .catch((error: unknown) => {
        recording.logger.error({ error }, 'failed')
        assert.match(String(error), /add it to realms/)
      })
    assert.ok(!recording.text().includes(canary))
  }
  assert.deepEqual(sink.requests, [])
})

test('P8: a token is shown to nobody but the registry that it was had for, whoever else names the same token server', async () => {
  let given = 0
  await using auth = await scriptedServer((_request, response) => reply(response, 200, {}, { token: `t${++given}` }))
  const challenge = { 'www-authenticate': `Bearer realm="${auth.url.origin}/token",service="s"` }
  await using other = await scriptedServer(({ authorization }, response) =>
    authorization === undefined ? reply(response, 401, challenge) : reply(response, 200, {}, manifest),
  )
  await using server = await scriptedServer(({ authorization, url }, response) =>
    authorization === undefined
      ? reply(response, 401, challenge)
      : reply(response, 307, { location: `${other.url.origin}${url}` }),
  )
  await using upstream = upstreamAt(server.url)
  await upstream.repository(name).manifests.get(manifestDigest)
  const shownTo = ({ requests }: ScriptedServer): unknown[] => requests.map(({ authorization }) => authorization)
  assert.deepEqual(shownTo(server), [undefined, 'Bearer t1'])
  assert.deepEqual(shownTo(other), [undefined, 'Bearer t2'])
})

test('P7: of registries that redirects lead to only so many are remembered: the oldest has to ask anew', async () => {
  await using other = await scriptedServer(({ path, authorization, headers }, response) => {
    if (path === '/token') return reply(response, 200, {}, { token: 't' })
    if (authorization !== undefined) return reply(response, 200, {}, manifest)
    return reply(response, 401, { 'www-authenticate': `Bearer realm="http://${headers.host}/token"` })
  })
  let at = 0
  await using server = await scriptedServer(({ url }, response) =>
    reply(response, 307, { location: `http://r${at}.test:${other.url.port}${url}` }),
  )
  await using upstream = upstreamAt(server.url, {
    resolve: (_hostname, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
  })
  const refusedAt = async (which: number): Promise<number> => {
    at = which
    const before = other.requests.length
    await upstream.repository(name).manifests.get(manifestDigest)
    return other.requests.slice(before).filter(({ path, authorization }) => path !== '/token' && !authorization).length
  }
  for (let which = 0; which < 32; which++) assert.equal(await refusedAt(which), 1)
  assert.equal(await refusedAt(0), 0)
  assert.equal(await refusedAt(32), 1)
  assert.equal(await refusedAt(0), 1)
  assert.equal(await refusedAt(32), 0)
})

test('who has another user name from now on has a token of that user’s, and none of the one before', async () => {
  await using server = await tokenRegistry({
    token: ({ query }, response) => reply(response, 200, {}, { token: `of-${query.get('account')}` }),
  })
  const credentials = new ConfiguredCredentials({ kind: 'password', username: 'alice', password: canary })
  await using upstream = upstreamAt(server.url, { credentials })
  const { manifests } = upstream.repository(name)
  await manifests.get(manifestDigest)
  credentials.replace({ kind: 'password', username: 'bob', password: canary })
  await manifests.get(manifestDigest)
  assert.deepEqual(
    server.requests.flatMap(({ path, authorization }) => (path === '/token' ? [] : [authorization])),
    [undefined, 'Bearer of-alice', 'Bearer of-bob'],
  )
})

test('a connection that breaks after credentials were posted is no reason to post them again', async () => {
  await using server = await tokenRegistry({
    token: (_request, response) => void response.destroy(),
  })
  const credentials = fixedCredentials({ kind: 'identity-token', token: canary })
  await using upstream = upstreamAt(server.url, { credentials })
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  assert.equal(tokenRequests(server).length, 1) // it may have been used up (RFC 9110 §9.2.2)
})

test('credentials go to a foreign token server that the operator names', async () => {
  await using auth = await scriptedServer((_request, response) => reply(response, 200, {}, { token: 't' }))
  await using server = await tokenRegistry({ realm: () => `${auth.url.origin}/token` })
  await using upstream = upstreamAt(server.url, { credentials: password(), realms: [auth.url] })
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.equal(auth.requests[0]?.authorization, basic)
})

test('T-61, P8: a token server that redirects is not followed', async () => {
  await using sink = await scriptedServer((_request, response) => reply(response, 200, {}, { token: 't' }))
  await using server = await tokenRegistry({
    token: (_request, response) => reply(response, 307, { location: `${sink.url.origin}/token` }),
  })
  await using upstream = upstreamAt(server.url, { credentials: password() })
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'invalid')
  assert.deepEqual(sink.requests, [])
})

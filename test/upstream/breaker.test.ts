import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { ManifestSource } from '../../src/registry/source.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { Breaker, type Passage } from '../../src/upstream/breaker.ts'
import { anonymous, type CredentialSource } from '../../src/upstream/credentials.ts'
import type { UpstreamRegistry } from '../../src/upstream/upstream-registry.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { reply, scriptedServer, type ReceivedRequest, type ScriptedServer } from '../support/scripted-server.ts'
import { blob, blobDigest, failure, latest, manifest, manifestDigest, name, password, upstreamAt } from './fixture.ts'

function errorNow(): UpstreamError {
  return new UpstreamError('unreachable', 'r.example', 'r.example cannot be reached (ECONNREFUSED)')
}

const late = new UpstreamError('timeout', 'r.example', 'r.example did not answer in time')

function breakerAt(random = 0.5): {
  readonly breaker: Breaker
  readonly lines: Record<string, unknown>[]
  /** Lets so many milliseconds pass. */
  readonly pass: (milliseconds: number) => void
} {
  let now = 0
  const { logger, lines } = recordingLogger()
  const breaker = new Breaker({ host: 'r.example', logger, clock: () => now, random: () => random })
  const pass = (milliseconds: number): void => {
    now += milliseconds
  }
  return { breaker, lines, pass }
}

function failTimes(breaker: Breaker, times: number, error?: UpstreamError): void {
  for (let time = 0; time < times; time += 1) breaker.enter().fail(error ?? errorNow())
}

function refusalOf(breaker: Breaker): UpstreamError {
  try {
    breaker.enter()
  } catch (error) {
    assert.ok(error instanceof UpstreamError)
    return error
  }
  return assert.fail('it let a request through')
}

function probeOf(breaker: Breaker): Passage {
  assert.equal(breaker.isOpen, true)
  return breaker.enter()
}

test('three failures in a row open it, and a success in between starts the count anew', () => {
  const { breaker } = breakerAt()
  failTimes(breaker, 2)
  breaker.enter().succeed()
  failTimes(breaker, 2)
  assert.equal(breaker.isOpen, false)
  failTimes(breaker, 1)
  assert.equal(breaker.isOpen, true)
})

test('P10: what is refused says why, and when the upstream is asked again', () => {
  const { breaker, pass } = breakerAt()
  failTimes(breaker, 2)
  failTimes(breaker, 1, late)
  pass(400)
  const error = refusalOf(breaker)
  assert.equal(error.failure, 'timeout')
  assert.equal(error.host, 'r.example')
  assert.equal(error.retryAfter, 2)
  assert.equal(
    error.message,
    'r.example did not answer in time; r.example has not answered lately, and is asked again in 2 s',
  )
  assert.equal(error.cause, late)
})

test('after the cooldown one request is let through, and no other until it has ended', () => {
  const { breaker, pass } = breakerAt()
  failTimes(breaker, 3)
  pass(1499)
  refusalOf(breaker)
  pass(1)
  const probe = probeOf(breaker)
  assert.equal(refusalOf(breaker).retryAfter, 1)
  assert.equal(breaker.isOpen, true)
  probe.succeed()
  assert.equal(breaker.isOpen, false)
  assert.equal(breaker.enter().isHurried, false)
})

test('probes are in a hurry until the upstream has been away for long', () => {
  const { breaker, pass } = breakerAt()
  failTimes(breaker, 3)
  const hurried = [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000].map((cooldown) => {
    pass(cooldown)
    const probe = probeOf(breaker)
    probe.fail(errorNow())
    return probe.isHurried
  })
  assert.deepEqual(hurried, [true, true, true, true, true, false, false])
})

test('one failure that several requests waited for is one failure', () => {
  const { breaker, pass } = breakerAt()
  const shared = errorNow()
  for (let time = 0; time < 5; time += 1) breaker.enter().fail(shared)
  assert.equal(breaker.isOpen, false)
  failTimes(breaker, 2)
  pass(1500)
  probeOf(breaker).fail(shared)
  pass(2999)
  refusalOf(breaker)
})

test('each probe that fails doubles the cooldown, up to half a minute; a success forgets all that', () => {
  const { breaker, pass } = breakerAt()
  failTimes(breaker, 3)
  for (const cooldown of [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000]) {
    pass(cooldown - 1)
    refusalOf(breaker)
    pass(1)
    probeOf(breaker).fail(errorNow())
  }
  pass(30_000)
  probeOf(breaker).succeed()
  failTimes(breaker, 2)
  assert.equal(breaker.isOpen, false)
  failTimes(breaker, 1)
  pass(1500)
  probeOf(breaker)
})

test('cooldowns differ by a fifth at most', () => {
  for (const [random, cooldown] of [
    [0, 1200],
    [1, 1800],
  ] as const) {
    const { breaker, pass } = breakerAt(random)
    failTimes(breaker, 3)
    pass(cooldown - 1)
    refusalOf(breaker)
    pass(1)
    probeOf(breaker)
  }
})

test('a probe that is given up leaves its place to the next request', () => {
  const { breaker, pass } = breakerAt()
  failTimes(breaker, 3)
  pass(1500)
  probeOf(breaker)[Symbol.dispose]()
  const probe = probeOf(breaker)
  refusalOf(breaker)
  probe.fail(errorNow())
  probe[Symbol.dispose]() // as it is after every request
  pass(2999)
  refusalOf(breaker)
})

test('requests from before it opened neither lengthen the cooldown nor free the place of the probe', () => {
  const { breaker, pass } = breakerAt()
  const before = [breaker.enter(), breaker.enter(), breaker.enter()] as const
  failTimes(breaker, 3)
  pass(1400)
  before[0].fail(errorNow())
  pass(100)
  const probe = probeOf(breaker)
  before[1].fail(errorNow())
  before[1][Symbol.dispose]()
  refusalOf(breaker)
  before[2].succeed()
  assert.equal(breaker.isOpen, false)
  probe.fail(errorNow()) // one failure, no more: it is no probe any longer
  assert.equal(breaker.isOpen, false)
})

test('opening and closing are said once each', () => {
  const { breaker, lines, pass } = breakerAt()
  failTimes(breaker, 3)
  for (const cooldown of [1500, 3000]) {
    pass(cooldown)
    probeOf(breaker).fail(late)
  }
  pass(6000)
  probeOf(breaker).succeed()
  breaker.enter().succeed()
  assert.deepEqual(
    lines.map(({ level, host, msg }) => [level, host, msg]),
    [
      ['warn', 'r.example', 'upstream does not answer: it is asked only now and then'],
      ['info', 'r.example', 'upstream answers again'],
    ],
  )
})

/** A registry that answers as the test says at the moment. */
async function registry(): Promise<
  ScriptedServer & { answer: (response: ServerResponse, request: ReceivedRequest) => void }
> {
  const server = await scriptedServer((request, response) => changing.answer(response, request))
  const changing = Object.assign(server, {
    answer: (response: ServerResponse, _request: ReceivedRequest): void => reply(response, 200, {}, manifest),
  })
  return changing
}

test('P7, T-13: an upstream that fails three times is not dialled again until its cooldown is over', async () => {
  await using server = await registry()
  let now = 0
  await using upstream = upstreamAt(server.url, { clock: () => now })
  const { manifests, tags, blobs } = upstream.repository(name)
  server.answer = (response): void => reply(response, 503)
  for (let time = 0; time < 3; time += 1) {
    assert.equal(upstream.condition().isReachable, true)
    await failure(manifests.get(manifestDigest), 'unavailable')
  }
  assert.equal(upstream.condition().isReachable, false)
  for (const ask of [manifests.get(manifestDigest), tags.find(latest), blobs.stat(blobDigest)]) {
    assert.ok(((await failure(ask, 'unavailable')).retryAfter ?? 0) >= 1)
  }
  assert.equal(server.requests.length, 3)
  now += 2000
  server.answer = (response): void => reply(response, 200, {}, manifest)
  await manifests.get(manifestDigest)
  assert.equal(upstream.condition().isReachable, true)
  await manifests.get(manifestDigest)
  assert.equal(server.requests.length, 5)
})

/** An upstream that has failed until it was left alone, at the moment when the next request finds out whether it is back. */
async function failedUpstream(): Promise<
  AsyncDisposable & {
    readonly server: Awaited<ReturnType<typeof registry>>
    readonly upstream: UpstreamRegistry
    readonly manifests: ManifestSource
  }
> {
  await using resources = new AsyncDisposableStack()
  const server = resources.use(await registry())
  let now = 0
  const upstream = resources.use(upstreamAt(server.url, { clock: () => now }))
  const { manifests } = upstream.repository(name)
  server.answer = (response): void => reply(response, 500)
  for (let time = 0; time < 3; time += 1) await failure(manifests.get(manifestDigest), 'unavailable')
  now += 2000
  const opened = resources.move()
  return { server, upstream, manifests, [Symbol.asyncDispose]: async () => await opened.disposeAsync() }
}

test('P7: an upstream that comes back is asked by one request first, while all others fail at once', async () => {
  await using failed = await failedUpstream()
  const { server, manifests } = failed
  const asked = deferred()
  const answered = deferred<ServerResponse>()
  server.answer = (response): void => {
    asked.resolve()
    answered.resolve(response)
  }
  const probe = manifests.get(manifestDigest)
  await asked.promise
  await Promise.all(Array.from({ length: 20 }, async () => await failure(manifests.get(manifestDigest), 'unavailable')))
  assert.equal(server.requests.length, 4)
  reply(await answered.promise, 200, {}, manifest)
  await probe
  server.answer = (response): void => reply(response, 200, {}, manifest)
  await Promise.all(Array.from({ length: 5 }, async () => await manifests.get(manifestDigest)))
})

test('a caller who leaves while his request is the probe leaves the place to the next one', async () => {
  await using failed = await failedUpstream()
  const { server, upstream, manifests } = failed
  const asked = deferred()
  server.answer = (): void => asked.resolve()
  const caller = new AbortController()
  const left = manifests.get(manifestDigest, { signal: caller.signal })
  await asked.promise
  caller.abort(new RegistryError('UNAVAILABLE', 'left'))
  await assert.rejects(left, /left/)
  assert.equal(upstream.condition().isReachable, false)
  server.answer = (response): void => reply(response, 200, {}, manifest)
  await manifests.get(manifestDigest)
})

test('P7: a probe that is not answered is given up sooner than an ordinary request', async (t) => {
  await using server = await registry()
  let now = 0
  const timeouts = { connect: 60_000, firstByte: 60_000, idle: 60_000 }
  await using upstream = upstreamAt(server.url, { clock: () => now, timeouts })
  const { manifests } = upstream.repository(name)
  server.answer = (response): void => reply(response, 500)
  for (let time = 0; time < 3; time += 1) await failure(manifests.get(manifestDigest), 'unavailable')
  now += 2000
  const asked = deferred()
  server.answer = (): void => asked.resolve()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const probe = failure(manifests.get(manifestDigest), 'timeout')
  await asked.promise
  t.mock.timers.tick(3000)
  assert.match((await probe).message, /did not answer in time/)
})

const answers: ReadonlyArray<{ why: string; status: number; lives: boolean }> = [
  { why: 'unknown', status: 404, lives: true },
  { why: 'a refusal', status: 403, lives: true },
  { why: 'too many requests', status: 429, lives: true },
  { why: 'a method that it does not know', status: 501, lives: true },
  { why: 'trouble of its own', status: 500, lives: false },
  { why: 'a wish to be left alone', status: 503, lives: false },
]

for (const { why, status, lives } of answers) {
  test(`T-23: an upstream that answers with ${why} ${lives ? 'lives' : 'is in trouble'}`, async () => {
    await using server = await registry()
    server.answer = (response): void => reply(response, status)
    await using upstream = upstreamAt(server.url)
    for (let time = 0; time < 3; time += 1) {
      await assert.rejects(upstream.repository(name).manifests.get(manifestDigest))
    }
    assert.equal(upstream.condition().isReachable, lives)
  })
}

test('credentials that are refused are an answer of a host that lives', async () => {
  for (const challenge of ['Basic realm="r"', 'Bearer realm="/token"']) {
    await using server: ScriptedServer = await scriptedServer(({ path }, response) => {
      if (path === '/token') reply(response, 403)
      else reply(response, 401, { 'www-authenticate': challenge.replace('/token', `${server.url.origin}/token`) })
    })
    await using upstream = upstreamAt(server.url, { credentials: password() })
    for (let time = 0; time < 5; time += 1) {
      await assert.rejects(upstream.repository(name).manifests.get(manifestDigest), UpstreamError)
    }
    assert.equal(upstream.condition().isReachable, true)
  }
})

test('an upstream that breaks every connection, or refuses it, is in trouble', async () => {
  await using server = await registry()
  server.answer = (response): void => void response.socket?.destroy()
  const gone = await registry()
  await gone[Symbol.asyncDispose]()
  for (const url of [server.url, gone.url]) {
    await using upstream = upstreamAt(url)
    for (let time = 0; time < 3; time += 1) {
      await assert.rejects(upstream.repository(name).manifests.get(manifestDigest), UpstreamError)
    }
    assert.equal(upstream.condition().isReachable, false)
  }
})

test('a token server that fails makes its upstream fail', async () => {
  await using server: ScriptedServer = await scriptedServer(({ path }, response) => {
    if (path === '/token') reply(response, 503)
    else reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url.origin}/token"` })
  })
  await using upstream = upstreamAt(server.url)
  for (let time = 0; time < 3; time += 1) {
    await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  }
  assert.equal(upstream.condition().isReachable, false)
})

test('a host that a redirect leads to says nothing of the upstream', async () => {
  const waiting: ServerResponse[] = []
  await using cdn = await scriptedServer((_request, response) => {
    if (waiting.push(response) === 5) for (const one of waiting) reply(one, 503)
  })
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `${cdn.url.origin}/blob` }),
  )
  await using upstream = upstreamAt(server.url)
  const { blobs } = upstream.repository(name)
  await Promise.all(Array.from({ length: 5 }, async () => await failure(blobs.fetch(blobDigest), 'unavailable')))
  assert.equal(upstream.condition().isReachable, true)
})

test('a body that breaks says nothing of the upstream', async () => {
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': String(manifest.length) })
    response.write(manifest.subarray(1), () => response.socket?.destroy())
  })
  await using upstream = upstreamAt(server.url)
  for (let time = 0; time < 4; time += 1) {
    await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  }
  assert.equal(upstream.condition().isReachable, true)
})

test('a refusal that is repeated from memory is no sign of life', async () => {
  let now = 0
  await using server = await registry()
  const source: CredentialSource = {
    get: async (repository) =>
      repository === name ? { kind: 'password', username: 'alice', password: 'wrong' } : anonymous,
    refused: () => {},
  }
  await using upstream = upstreamAt(server.url, { credentials: source, clock: () => now })
  const { manifests } = upstream.repository(name)
  server.answer = (response): void => reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
  await failure(manifests.get(manifestDigest), 'credentials-refused')
  server.answer = (response): void => reply(response, 503)
  const other = upstream.repository(parseRepositoryName('other')).manifests
  for (let time = 0; time < 3; time += 1) await failure(other.get(manifestDigest), 'unavailable')
  now += 2000
  await failure(manifests.get(manifestDigest), 'credentials-refused')
  assert.equal(upstream.condition().isReachable, false)
  assert.equal(server.requests.length, 5)
})

test('requests that wait in vain for a connection, while bodies take them all, say nothing of the upstream', async () => {
  const held: ServerResponse[] = []
  await using server = await scriptedServer((_request, response) => {
    response.writeHead(200, { 'content-length': String(blob.length) })
    response.write(blob.subarray(0, 1))
    held.push(response)
  })
  await using upstream = upstreamAt(server.url, { timeouts: { connect: 1500, firstByte: 500, idle: 60_000 } })
  const { blobs } = upstream.repository(name)
  const bodies = await Promise.all(Array.from({ length: 64 }, async () => await blobs.fetch(blobDigest)))
  await Promise.all(Array.from({ length: 4 }, async () => await failure(blobs.fetch(blobDigest), 'timeout')))
  assert.equal(upstream.condition().isReachable, true)
  for (const response of held) response.end(blob.subarray(1))
  for (const { body } of bodies) await body[Symbol.asyncDispose]?.()
})

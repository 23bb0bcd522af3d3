// Keys by URL: fetched once, kept, and fetched again when it is time, but never because many ask.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { RemoteKeys } from '../../src/auth/remote-keys.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { scriptedServer } from '../support/scripted-server.ts'
import { ec, issuer, jwkOf, minted, rsa, service } from './tokens.ts'

interface KeyServer extends AsyncDisposable, Recording {
  readonly url: URL
  readonly requests: () => number
  answer: (response: ServerResponse) => void
}

function sends(...keys: readonly Record<string, unknown>[]): KeyServer['answer'] {
  return (response) => response.end(JSON.stringify({ keys }))
}

const ecKey = jwkOf(ec.publicKey, 'ec')
const rsaKey = jwkOf(rsa.publicKey, 'rsa')

async function startKeyServer(): Promise<KeyServer> {
  const server = await scriptedServer((_, response) => {
    response.setHeader('connection', 'close')
    started.answer(response)
  })
  const started: KeyServer = {
    ...recordingLogger(),
    url: new URL('/keys', server.url),
    requests: () => server.requests.length,
    answer: sends(ecKey),
    [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose](),
  }
  return started
}

const second = 1000
const minute = 60 * second

test('keys are fetched once for all, and again for a name that is not among them, but not for each', async () => {
  await using server = await startKeyServer()
  let now = 0
  const keys = new RemoteKeys({ url: server.url, logger: server.logger, clock: () => now })
  const found = await Promise.all(Array.from({ length: 5 }, async () => await keys.find('ec')))
  assert.deepEqual(new Set(found.map((key) => key?.algorithms.join())), new Set(['ES256']))
  assert.equal(server.requests(), 1)
  for (let time = 0; time < 50; time += 1) assert.equal(await keys.find(`x${time}`), undefined)
  assert.equal(server.requests(), 1)
  server.answer = sends(ecKey, rsaKey)
  now += 10 * second
  assert.ok(await keys.find('rsa'))
  assert.ok(await keys.find('ec'))
  assert.equal(server.requests(), 2)
})

test('old keys are fetched anew behind the requests they serve; one that was withdrawn ends then', async () => {
  await using server = await startKeyServer()
  let now = 0
  const keys = new RemoteKeys({ url: server.url, logger: server.logger, clock: () => now })
  assert.ok(await keys.find('ec'))
  server.answer = sends(rsaKey)
  now += 10 * minute
  assert.ok(await keys.find('ec'))
  await keys.refresh()
  assert.equal(server.requests(), 2)
  assert.equal(await keys.find('ec'), undefined)
  assert.ok(await keys.find('rsa'))
})

test('while they cannot be had the last ones count for a day, and it is told of once', async () => {
  await using server = await startKeyServer()
  let now = 0
  const keys = new RemoteKeys({ url: server.url, logger: server.logger, clock: () => now })
  assert.ok(await keys.find('ec'))
  const failures: readonly KeyServer['answer'][] = [
    (response) => response.writeHead(500).end(),
    (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
    (response) => response.end('<html>'),
    (response) => response.end(JSON.stringify({ keys: [{ kty: 'oct', kid: 'ec', k: 'A'.repeat(64) }] })),
    (response) => response.end(`{"keys":[],"x":"${'x'.repeat(300_000)}"}`),
    (response) => response.destroy(),
  ]
  for (const answer of failures) {
    server.answer = answer
    now += 10 * minute
    await keys.refresh()
    assert.deepEqual((await keys.find('ec'))?.algorithms, ['ES256'])
  }
  assert.equal(server.requests(), 1 + failures.length)
  assert.equal(server.lines.length, 1)
  now += 24 * 60 * minute
  await assert.rejects(keys.find('ec'), { code: 'UNAVAILABLE', retryAfter: 30 })
})

test('keys of a kind that nobody here knows keep no other from being used', async () => {
  await using server = await startKeyServer()
  const { publicKey: secp256k1 } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  const { publicKey: ed448 } = generateKeyPairSync('ed448')
  const afterQuantum = { kty: 'AKP', kid: 'new', alg: 'ML-DSA-65', pub: 'AAAA' }
  server.answer = sends(
    afterQuantum,
    jwkOf(secp256k1, 'k1'),
    jwkOf(ed448, 'ed448', { use: 'sig' }),
    { kid: 'x' },
    ecKey,
  )
  const keys = new RemoteKeys({ url: server.url, logger: server.logger })
  assert.deepEqual((await keys.find('ec'))?.algorithms, ['ES256'])
  for (const kid of ['new', 'k1', 'ed448', 'x']) assert.equal(await keys.find(kid), undefined)
  assert.deepEqual(server.lines, [])
})

test('P9: a server whose keys cannot be had starts, answers 503 to tokens and 401 to everybody else', async () => {
  await using server = await startKeyServer()
  server.answer = (response) => response.writeHead(503).end()
  const token = { realm: 'r', service, issuer, jwks: server.url.href }
  await using app = await startAppUnderTest({ auth: { token } })
  const headers = { authorization: `Bearer ${minted()}` }
  const answer = await ask(`${app.url}/v2/`, { headers })
  assert.deepEqual([answer.status, answer.codes, answer.headers['retry-after']], [503, ['UNAVAILABLE'], '30'])
  assert.equal((await ask(`${app.url}/v2/`)).status, 401)
})

// T-63: a redirect and a token server are a stranger's words, and must not lead into the network we stand in.
import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { promisify } from 'node:util'
import { test } from 'node:test'
import { Bounds, type Resolve } from '../../src/upstream/bounds.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { Transport } from '../../src/upstream/transport.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { failure, latest, manifest, name, upstreamAt } from './fixture.ts'

/** A name server: every name has these addresses. */
function names(table: Readonly<Record<string, readonly string[]>>): Resolve {
  return (hostname, _options, callback) => {
    const found = (table[hostname] ?? []).map((address): LookupAddress => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }))
    if (found.length > 0) callback(null, found)
    else callback(Object.assign(new Error('not found'), { code: 'ENOTFOUND' }), [])
  }
}

const realms = [new URL('http://10.9.9.9:8080/token')]

const cases: ReadonlyArray<{ upstream: string; to: string; admitted: boolean }> = [
  { upstream: 'https://registry.example', to: 'https://cdn.example/b', admitted: true },
  { upstream: 'https://registry.example', to: 'https://8.8.8.8/b', admitted: true },
  { upstream: 'https://registry.example', to: 'https://169.254.169.254/latest', admitted: false },
  { upstream: 'http://registry.example', to: 'http://2130706433/', admitted: false },
  { upstream: 'http://registry.example', to: 'http://[::ffff:127.0.0.1]/', admitted: false },
  { upstream: 'http://registry.example', to: 'http://localhost:5000/', admitted: false },
  { upstream: 'http://registry.example', to: 'http://10.9.9.9:8080/token', admitted: true },
  { upstream: 'http://registry.example', to: 'http://10.9.9.9:8081/token', admitted: false },
  { upstream: 'http://localhost:5000', to: 'http://127.0.0.1:5001/', admitted: true },
  { upstream: 'http://10.0.0.5', to: 'http://10.0.0.6/', admitted: true },
  { upstream: 'http://10.0.0.5', to: 'http://10.0.0.5/', admitted: true },
]

for (const { upstream, to, admitted } of cases) {
  test(`T-63: ${upstream} may ${admitted ? '' : 'not '}redirect to ${to}`, () => {
    const bounds = new Bounds({ upstream: new URL(upstream), realms })
    if (admitted) assert.equal(bounds.admit(new URL(to)).href, new URL(to).href)
    else assert.throws(() => bounds.admit(new URL(to)), { name: 'UpstreamError', failure: 'invalid' })
  })
}

test('T-63: a name that stands for a private address is not connected to, whatever else it stands for', async () => {
  const resolve = names({
    'registry.example': ['203.0.113.1'],
    'cdn.example': ['203.0.113.2', '2001:db8::2'],
    'evil.example': ['203.0.113.3', '169.254.169.254'],
    'mapped.example': ['::ffff:127.0.0.1'],
    'auth.lan': ['10.0.0.7'],
  })
  const upstream = new URL('https://registry.example')
  const bounds = new Bounds({ upstream, realms: [new URL('https://auth.lan')], resolve })
  const lookup = promisify(bounds.lookup)
  await lookup('registry.example', { all: true })
  assert.deepEqual(await lookup('cdn.example', { all: true }), [
    { address: '203.0.113.2', family: 4 },
    { address: '2001:db8::2', family: 6 },
  ])
  assert.equal(await lookup('cdn.example', {}), '203.0.113.2')
  assert.equal(await lookup('auth.lan', {}), '10.0.0.7') // the operator named it
  for (const hostname of ['evil.example', 'mapped.example']) {
    await assert.rejects(lookup(hostname, { all: true }), { name: 'UpstreamError', failure: 'invalid' })
  }
  await assert.rejects(lookup('nowhere.example', { all: true }), { code: 'ENOTFOUND' })
})

test('T-63: a registry whose name stands for a private address may lead about its own network', async () => {
  await using store = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  await using registry: ScriptedServer = await scriptedServer((_request, response) =>
    reply(response, 307, { location: `http://store.lan:${store.url.port}/signed` }),
  )
  const resolve = names({ 'registry.lan': ['127.0.0.1'], 'store.lan': ['127.0.0.1'] })
  await using upstream = upstreamAt(new URL(`http://registry.lan:${registry.url.port}`), { resolve })
  assert.deepEqual((await upstream.repository(name).tags.get(latest)).bytes, manifest)
})

test('T-63: a registry that has moved out of our network leads nowhere in it any more', async () => {
  const table = { 'registry.example': ['10.0.0.5'], 'store.example': ['10.0.0.6'] }
  const bounds = new Bounds({ upstream: new URL('https://registry.example'), realms: [], resolve: names(table) })
  const lookup = promisify(bounds.lookup)
  await lookup('registry.example', { all: true })
  assert.equal(await lookup('store.example', {}), '10.0.0.6')
  table['registry.example'] = ['203.0.113.1']
  await lookup('registry.example', { all: true })
  await assert.rejects(lookup('store.example', {}), { name: 'UpstreamError', failure: 'invalid' })
})

/** Looks public to whoever checks it, and then leads to this machine: a registry in the public network, for tests. */
function seeminglyPublic(): LookupAddress {
  let reads = 0
  return {
    family: 4,
    get address(): string {
      reads += 1
      return reads === 1 ? '203.0.113.1' : '127.0.0.1'
    },
  }
}

for (const how of ['redirect', 'token server']) {
  test(`T-63: a ${how} that leads inside is refused before a connection is made, by address and by name`, async () => {
    await using inside = await scriptedServer((_request, response) => reply(response, 200, {}, { token: 't' }))
    for (const host of ['127.0.0.1', 'inside.example']) {
      const target = `http://${host}:${inside.url.port}/`
      await using registry = await scriptedServer((_request, response) => {
        if (how === 'redirect') reply(response, 307, { location: target })
        else reply(response, 401, { 'www-authenticate': `Bearer realm="${target}"` })
      })
      const resolve: Resolve = (hostname, options, callback) => {
        if (hostname === 'registry.example') callback(null, [seeminglyPublic()])
        else names({ 'inside.example': ['127.0.0.1'] })(hostname, options, callback)
      }
      await using upstream = upstreamAt(new URL(`http://registry.example:${registry.url.port}`), { resolve })
      await failure(upstream.repository(name).tags.get(latest), 'invalid')
      assert.equal(registry.requests.length, 1)
    }
    assert.equal(inside.connections(), 0)
  })
}

test('T-63: what looking a name up refuses is refused to the socket, too', async () => {
  await using inside = await scriptedServer((_request, response) => reply(response, 200))
  const bounds = new Bounds({
    upstream: new URL('https://registry.example'),
    realms: [],
    resolve: names({ 'inside.example': ['127.0.0.1'] }),
  })
  const timeouts = { connect: 2000, firstByte: 2000, idle: 2000 }
  await using transport = new Transport({ timeouts, userAgent: 'entrepot/test', logger: silentLogger, bounds })
  const url = new URL(`http://inside.example:${inside.url.port}/`)
  for (const isLong of [true, false]) {
    const error = await failure(transport.send({ method: 'GET', url, headers: {}, isLong }), 'invalid')
    assert.match(error.message, /registry\.example leads to inside\.example, which is in a private network/)
  }
  assert.equal(inside.connections(), 0)
})

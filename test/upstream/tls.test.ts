// T-26: certificates that do not prove who the upstream is, and those that do.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { suite, test } from 'node:test'
import { setDefaultCACertificates } from 'node:tls'
import type { Resolve } from '../../src/upstream/bounds.ts'
import type { TlsOptions } from '../../src/upstream/tls.ts'
import type { UpstreamRegistry } from '../../src/upstream/upstream-registry.ts'
import { makeAuthority, selfSigned, type Certified } from '../support/certificates.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { tlsFront } from '../support/tls-front.ts'
import { failure, manifest, manifestDigest, name, upstreamAt } from './fixture.ts'

const hostname = 'registry.test'
const authority = makeAuthority()
const good = authority.issue({ names: [hostname] })
const trusting: TlsOptions = { ca: authority.certificate }

const resolve: Resolve = (_, __, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }])

function registryAt(url: URL, tls: TlsOptions = trusting): UpstreamRegistry {
  return upstreamAt(url, { tls, resolve })
}

async function documents(): Promise<ScriptedServer> {
  return await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
}

async function pull(upstream: UpstreamRegistry): Promise<void> {
  assert.ok(manifest.equals((await upstream.repository(name).manifests.get(manifestDigest)).bytes))
}

const untrusted = /^registry\.test:\d+ cannot be reached: its certificate is signed by nobody who is trusted here \(/
const elsewhere = /^registry\.test:\d+ cannot be reached: its certificate is for another host \(/

const refused: ReadonlyArray<[what: string, certified: Certified, message: RegExp]> = [
  ['is signed by itself', selfSigned({ names: [hostname] }), untrusted],
  ['is signed by a stranger', makeAuthority().issue({ names: [hostname] }), untrusted],
  [
    'has expired',
    authority.issue({ names: [hostname], validFrom: -3, validTo: -1 }),
    /^registry\.test:\d+ cannot be reached: its certificate has expired \(CERT_HAS_EXPIRED\)$/,
  ],
  [
    'is of tomorrow',
    authority.issue({ names: [hostname], validFrom: 1, validTo: 3 }),
    /^registry\.test:\d+ cannot be reached: its certificate is not valid yet \(CERT_NOT_YET_VALID\)$/,
  ],
  ['is another host’s', authority.issue({ names: ['other.test'] }), elsewhere],
  ['is of a domain below', authority.issue({ names: ['*.registry.test'] }), elsewhere],
  ['is of all there are', authority.issue({ names: ['*'] }), elsewhere],
  ['has a star in the middle', authority.issue({ names: ['registry.*'] }), elsewhere],
  ['names the host up to a NUL', authority.issue({ names: ['registry.test\0.evil.test'] }), elsewhere],
  ['names two hosts in one', authority.issue({ names: ['evil.test, DNS:registry.test'] }), elsewhere],
]

suite('T-26: certificates of upstreams', () => {
  for (const [what, certified, message] of refused) {
    test(`T-26, P8: one that ${what} ends the connection before anything is asked`, async () => {
      await using server = await documents()
      await using front = await tlsFront(server.url, certified, { hostname })
      await using upstream = registryAt(front.url)
      const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
      assert.match(error.message, message)
      assert.equal(server.requests.length, 0)
    })
  }

  test('T-26: a star stands for one label, not for two', async () => {
    const wildcard = authority.issue({ names: ['*.registry.test'] })
    await using server = await documents()
    await using front = await tlsFront(server.url, wildcard, { hostname: 'a.registry.test' })
    await using one = registryAt(front.url)
    await pull(one)
    const deeper = new URL(front.url)
    deeper.hostname = 'a.b.registry.test'
    await using two = registryAt(deeper)
    const error = await failure(two.repository(name).manifests.get(manifestDigest), 'unreachable')
    assert.match(error.message, /^a\.b\.registry\.test:\d+ cannot be reached: its certificate is for another host/)
  })

  test('T-26: another certificate counts from the next connection on, whatever was proven before', async () => {
    await using server = await documents()
    await using front = await tlsFront(server.url, good, { hostname })
    await using upstream = registryAt(front.url)
    await pull(upstream)
    front.use(makeAuthority().issue({ names: [hostname] }))
    front.cut()
    const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
    assert.match(error.message, untrusted)
    assert.equal(server.requests.length, 1)
    front.use(authority.issue({ names: [hostname] }))
    await pull(upstream)
  })

  test('T-26: a handshake that hangs is given up', async () => {
    const silent = createServer((socket) => socket.on('error', () => {}))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const timeouts = { connect: 50, firstByte: 2000, idle: 2000 }
    {
      await using upstream = upstreamAt(new URL(`https://${hostname}:${port}`), { tls: trusting, resolve, timeouts })
      const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
      assert.equal(error.message, `${hostname}:${port} cannot be reached (UND_ERR_CONNECT_TIMEOUT)`)
    }
    silent.close()
  })

  test('T-26: HTTP where TLS is to be is no reason to do without', async () => {
    await using server = await documents()
    await using upstream = registryAt(new URL(`https://${hostname}:${server.url.port}`))
    const error = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
    assert.match(error.message, /^registry\.test:\d+ cannot be reached: it does not speak TLS/)
    assert.equal(server.requests.length, 0)
  })

  test('T-26: no variable turns the proving off', async () => {
    await using server = await documents()
    await using front = await tlsFront(server.url, selfSigned({ names: [hostname] }), { hostname })
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      await using upstream = registryAt(front.url, {})
      await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
    assert.equal(server.requests.length, 0)
  })

  test('a private authority is trusted beside the public ones, by the upstream that names it alone', async () => {
    const everybodys = makeAuthority()
    setDefaultCACertificates([everybodys.certificate])
    await using server = await documents()
    await using open = await tlsFront(server.url, everybodys.issue({ names: [hostname] }), { hostname })
    await using closed = await tlsFront(server.url, good, { hostname })
    for (const { url } of [open, closed]) {
      await using upstream = registryAt(url)
      await pull(upstream)
    }
    await using usual = registryAt(open.url, {})
    await pull(usual)
    await using other = registryAt(closed.url, {})
    const error = await failure(other.repository(name).manifests.get(manifestDigest), 'unreachable')
    assert.match(error.message, untrusted)
  })
})

suite('certificates of ours', () => {
  const ours = authority.issue({ names: ['us.test'] })
  const shown = new X509Certificate(ours.certificate).raw.toString('hex')
  const knowing: TlsOptions = { ca: authority.certificate, identity: ours }

  test('an upstream that asks for one is shown it, and lets nobody in who has none', async () => {
    await using server = await documents()
    await using front = await tlsFront(server.url, good, { hostname, clientAuthority: authority.certificate })
    await using upstream = registryAt(front.url, knowing)
    await pull(upstream)
    assert.deepEqual([...front.clients], [shown])
    await using nobody = registryAt(front.url)
    await assert.rejects(nobody.repository(name).manifests.get(manifestDigest))
    assert.equal(server.requests.length, 1)
  })

  test('P8: whoever the upstream redirects to is not shown it, though the private authority is good for it', async () => {
    const locations: URL[] = []
    await using server = await scriptedServer(({ path }, response) => {
      if (path === '/elsewhere') reply(response, 200, {}, manifest)
      else reply(response, 307, { location: new URL('/elsewhere', locations[0]).href })
    })
    const names = { names: [hostname, 'cdn.test'] }
    const certified = authority.issue(names)
    await using front = await tlsFront(server.url, certified, { hostname, clientAuthority: authority.certificate })
    await using cdn = await tlsFront(server.url, certified, { hostname: 'cdn.test' })
    locations.push(cdn.url)
    await using upstream = registryAt(front.url, knowing)
    await pull(upstream)
    assert.deepEqual([...front.clients, ...cdn.clients], [shown, ''])
  })
})

// The whole server, and a real authority that it asks for its certificate.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { makeAuthority, selfSigned } from '../support/certificates.ts'
import { startPebble, type Pebble } from '../support/pebble.ts'
import { freePort, startEntrepot, temporaryFolder, without, type Entrepot } from '../support/real-parts.ts'

const names = ['registry.example.test', 'mirror.example.test']

interface Site extends AsyncDisposable {
  readonly pebble: Pebble
  readonly cacheFile: string
  readonly port: number
  serve(): Promise<Entrepot>
}

/** `proofPort` is where the authority looks for proofs. */
async function openSite(options: { clientAuthority?: string; proofPort?: number } = {}): Promise<Site> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  const port = await freePort()
  const pebble = opening.use(await startPebble(folder, options.proofPort ?? port))
  const cacheFile = join(folder.path, 'letsencrypt.json')
  const clients = options.clientAuthority && (await folder.write('clients.pem', options.clientAuthority))
  const config = {
    version: 0.1,
    storage: { inmemory: {} },
    http: {
      addr: `127.0.0.1:${port}`,
      draintimeout: '0s',
      tls: {
        letsencrypt: { cachefile: cacheFile, email: 'ops@example.test', hosts: names, directoryurl: pebble.directory },
        ...(clients !== undefined && { clientcas: [clients] }),
      },
    },
  }
  const resources = opening.move()
  return {
    pebble,
    cacheFile,
    port,
    serve: async () => await startEntrepot(folder, JSON.stringify(config), { NODE_EXTRA_CA_CERTS: pebble.trust }),
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

/** Its serial number, as seen by a client that trusts the authority. @throws where the client would not go on */
async function serialShown({ port, pebble }: Site, servername: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, servername, ca: pebble.root })
  await once(socket, 'secureConnect')
  const serial = socket.getPeerX509Certificate()?.serialNumber
  socket.destroy()
  return String(serial)
}

async function statusOf({ port, pebble }: Site, path: string): Promise<number> {
  const trust = { ca: pebble.root, servername: 'registry.example.test', agent: false }
  const [response] = await once(request({ host: '127.0.0.1', port, path, ...trust }).end(), 'response')
  response.resume()
  return response.statusCode
}

test(
  'a certificate is asked for once: a restart uses what is kept, and asks again where that has expired',
  { skip: without('pebble'), timeout: 60_000 },
  async () => {
    await using site = await openSite()
    let first: string
    {
      await using server = await site.serve()
      await server.process.waitFor(/no certificate yet/)
      await server.process.waitFor(/new certificate in use/)
      first = await serialShown(site, 'registry.example.test')
      assert.equal(await serialShown(site, 'mirror.example.test'), first)
      assert.equal(await statusOf(site, '/v2/'), 200)
    }
    {
      await using server = await site.serve()
      await server.process.waitFor(/certificate of an earlier run in use/)
      assert.equal(await serialShown(site, 'registry.example.test'), first)
      assert.equal(site.pebble.orders(), 1)
    }
    const kept = JSON.parse(await readFile(site.cacheFile, 'utf8')) as Record<string, string>
    const old = selfSigned({ names, validFrom: -90, validTo: -1 })
    await writeFile(site.cacheFile, JSON.stringify({ ...kept, ...old }))
    await using server = await site.serve()
    await server.process.waitFor(/new certificate in use/)
    const second = await serialShown(site, 'registry.example.test')
    assert.notEqual(second, first)
    assert.equal(site.pebble.orders(), 2)
    assert.equal(site.pebble.process.output().match(/accounts in memory/g)?.length, 1)
    assert.equal(await server.stop(), 0) // what was issued is kept then
    const renewed = JSON.parse(await readFile(site.cacheFile, 'utf8')) as Record<string, string>
    assert.equal(new X509Certificate(renewed['certificate'] ?? '').serialNumber, second)
    assert.equal(renewed['account'], kept['account'])
  },
)

test(
  'the authority sees its proof where clients are let in by their certificate only',
  { skip: without('pebble'), timeout: 60_000 },
  async () => {
    await using site = await openSite({ clientAuthority: makeAuthority().certificate })
    await using server = await site.serve()
    await server.process.waitFor(/new certificate in use/)
    assert.equal(site.pebble.orders(), 1)
  },
)

test(
  'an authority that finds no proof is not asked again for an hour, and is quoted',
  { skip: without('pebble'), timeout: 60_000 },
  async () => {
    await using site = await openSite({ proofPort: await freePort() })
    await using server = await site.serve()
    await server.process.waitFor(/no certificate was issued/)
    const line = server.lines().find(({ msg }) => /no certificate was issued/.test(String(msg)))
    assert.match(JSON.stringify(line?.['error']), /Failed to connect to 127\.0\.0\.1:\d+ for the tls-alpn-01 challenge/)
    const wait = Date.parse(String(line?.['again'])) - Date.parse(String(line?.['time']))
    assert.ok(wait >= 59 * 60_000 && wait <= 67 * 60_000, `${wait}`)
    await assert.rejects(serialShown(site, 'registry.example.test'), /alert/)
    assert.equal(site.pebble.orders(), 1)
  },
)

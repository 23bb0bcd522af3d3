// Behind a real nginx, as most registries are: what it says of clients is believed, and what gets past it does no harm.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import diagnostics from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { selfSigned } from '../support/certificates.ts'
import { ask } from '../support/client.ts'
import { startNginx } from '../support/nginx.ts'
import { startOrigin } from '../support/origin.ts'
import { saidTo } from '../support/raw-client.ts'
import { signaturePolicy } from '../support/real-image.ts'
import { run, temporaryFolder, without } from '../support/real-parts.ts'
import { pipelined, smuggled } from '../support/smuggled.ts'

const options = { skip: without('nginx'), timeout: 120_000 }
/** As docs/serving.md has it. */
const forwarding = `
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded "";
      proxy_buffering off;
      proxy_request_buffering off;
      client_max_body_size 0;`

/** Connections that a server in this process has taken; counted until it is disposed. */
function countConnections(port: number): Disposable & { readonly count: number } {
  const sockets = new Set<Socket>()
  const onSocket = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket }
    if (socket.localPort === port) sockets.add(socket)
  }
  diagnostics.subscribe('net.server.socket', onSocket)
  return {
    get count() {
      return sockets.size
    },
    [Symbol.dispose]: () => void diagnostics.unsubscribe('net.server.socket', onSocket),
  }
}

test('T-76: what is hidden in a request gets through a real nginx as no request of its own', options, async () => {
  await using folder = await temporaryFolder()
  await using app = await startAppUnderTest({})
  await using nginx = await startNginx(folder, { upstream: new URL(app.url).host, location: forwarding })
  const url = `http://${nginx.host}`
  using connections = countConnections(Number(new URL(app.url).port))
  const answered = (canary: string): number => app.lines.filter(({ repository }) => repository === canary).length
  assert.match(await saidTo(url, pipelined.raw('canary')), /^HTTP\/1\.1 200 [^]*HTTP\/1\.1 404 /)
  assert.equal(answered('canary'), 1, 'a canary that is asked for is seen')

  const attacked = new AbortController()
  let victims = 0
  /** Its connections to us are those that the others' requests go over: an answer too many would become a victim's. */
  const victim = async (): Promise<void> => {
    while (!attacked.signal.aborted) {
      const name = `victim-${victims++}`
      const { status, body } = await ask(`${url}/v2/${name}/tags/list`)
      assert.equal(status, 404)
      assert.ok(body.includes(`"${name}"`), body.toString())
    }
  }
  const attack = async (from: number): Promise<void> => {
    for (let nth = from; nth < smuggled.length; nth += 8) {
      const { what, raw, nginxAsks = false } = smuggled[nth] ?? pipelined
      const said = await saidTo(url, raw(`canary-${nth}`))
      assert.doesNotMatch(said, /HTTP\/1\.[01] 50[0234]/, what) // it says 501 to codings, and 505 to versions, that it does not know
      assert.equal(answered(`canary-${nth}`), nginxAsks ? 1 : 0, `${what}: ${said}`)
    }
  }
  const attacks = Promise.all(Array.from({ length: 8 }, async (_, nth) => await attack(nth)))
  await Promise.all([victim(), victim(), attacks.finally(() => attacked.abort())])
  assert.deepEqual(
    app.lines.filter(({ status }) => Number(status) >= 500),
    [],
  )
  const requests = app.lines.filter(({ status }) => status !== undefined).length
  assert.ok(connections.count < requests / 2, `${connections.count} connections for ${requests} requests`)
})

test(
  'T-89: whom a real nginx speaks for is the client, and what clients say of themselves is not believed',
  options,
  async () => {
    await using folder = await temporaryFolder()
    const http = { addr: '127.0.0.1:0', draintimeout: '0s', trustedproxies: ['127.0.0.1'] }
    await using app = await startAppUnderTest({ http })
    const upstream = new URL(app.url).host
    const appending = forwarding.replace('$remote_addr', '$proxy_add_x_forwarded_for')
    for (const [localAddress, location] of [
      ['127.0.0.2', forwarding],
      ['127.0.0.3', appending],
    ] as const) {
      await using nginx = await startNginx(folder, { upstream, location, tls: selfSigned({ names: ['127.0.0.1'] }) })
      const asked = request(`https://${nginx.host}/v2/local/app/blobs/uploads/`, {
        method: 'POST',
        agent: false,
        localAddress,
        rejectUnauthorized: false,
        headers: {
          'x-forwarded-for': '203.0.113.7',
          'x-forwarded-proto': 'http',
          'x-forwarded-host': 'evil.example',
          forwarded: 'for=203.0.113.7;host=evil.example',
        },
      })
      asked.end()
      const [response] = (await once(asked, 'response')) as [IncomingMessage]
      response.resume()
      assert.equal(response.statusCode, 202)
      assert.ok(response.headers.location?.startsWith(`https://${nginx.host}/v2/local/app/`), response.headers.location)
      await app.until(({ client, status }) => client === localAddress && status === 202)
    }
  },
)

test(
  'skopeo pushes and pulls by TLS through a real nginx, whose host and scheme every Location has',
  { skip: without('nginx', 'skopeo'), timeout: 120_000 },
  async () => {
    await using folder = await temporaryFolder()
    await using origin = await startOrigin()
    await origin.addImage('team/app', '1', [randomBytes(100_000), randomBytes(3_000_000)])
    const http = { addr: '127.0.0.1:0', draintimeout: '0s', trustedproxies: ['127.0.0.1'] }
    await using app = await startAppUnderTest({ http })
    const tls = selfSigned({ names: ['127.0.0.1'] })
    await using nginx = await startNginx(folder, { upstream: new URL(app.url).host, location: forwarding, tls })
    const policy = ['--policy', await signaturePolicy(folder)]
    const flags = ['--quiet', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false']
    const here = `docker://${nginx.host}/local/app:1`
    await run('skopeo', [...policy, 'copy', ...flags, `docker://${new URL(origin.url).host}/team/app:1`, here])
    await run('skopeo', [...policy, 'copy', ...flags, here, `dir:${join(folder.path, 'pulled')}`])
    const pushed = app.lines.filter(
      ({ method, status }) => ['PATCH', 'PUT'].includes(String(method)) && Number(status) < 300,
    )
    assert.ok(pushed.length >= 4, `${pushed.length} requests that push`) // three blobs and a manifest
  },
)

// Upstreams that are reached through a proxy.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request, type IncomingHttpHeaders } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'
import { proxyFor, type HttpProxies } from '../../src/upstream/http-proxy.ts'
import { makeAuthority } from '../support/certificates.ts'
import { reply, scriptedServer } from '../support/scripted-server.ts'
import { tlsFront } from '../support/tls-front.ts'
import { canary, failure, manifest, manifestDigest, name, upstreamAt } from './fixture.ts'

interface Proxy extends AsyncDisposable {
  /** With a user name and a password. */
  readonly url: URL
  /** `CONNECT host:port` and `GET http://…`, with what was sent along. */
  readonly seen: { readonly line: string; readonly headers: IncomingHttpHeaders }[]
}

/** Every name leads to this machine; `status` refuses. */
async function startProxy(status?: number): Promise<Proxy> {
  const seen: Proxy['seen'] = []
  const sockets = new Set<Socket>()
  const server = createServer((incoming, response) => {
    seen.push({ line: `${incoming.method} ${incoming.url}`, headers: incoming.headers })
    if (status !== undefined) return void response.writeHead(status, { 'x-secret': canary }).end(canary)
    const { 'proxy-authorization': _, ...headers } = incoming.headers
    const { port, pathname, search } = new URL(incoming.url ?? '')
    const outgoing = request({ port, path: pathname + search, method: incoming.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    outgoing.end()
  })
  server.on('connect', ({ url = '', headers }, socket: Socket) => {
    seen.push({ line: `CONNECT ${url}`, headers })
    if (status !== undefined) return void socket.end(`HTTP/1.1 ${status} No\r\nx-secret: ${canary}\r\n\r\n`)
    const inner = connect(Number(url.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Yes\r\n\r\n')
      inner.pipe(socket).pipe(inner)
    })
    sockets.add(inner)
    for (const one of [inner, socket])
      one.on('error', () => {}).on('close', () => [inner, socket].map((s) => s.destroy()))
  })
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: new URL(`http://me:${canary}%40@127.0.0.1:${port}`),
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function through({ url }: Proxy, except: readonly string[] = []): HttpProxies {
  return { http: url, https: url, except }
}

const authorization = `Basic ${Buffer.from(`me:${canary}@`).toString('base64')}`
const authority = makeAuthority()
const tls = { ca: authority.certificate }

test('P8: an https upstream is reached through a tunnel, proven as ever, and never sees what the proxy is shown', async () => {
  await using proxy = await startProxy()
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  const certified = authority.issue({ names: ['registry.test'] })
  await using front = await tlsFront(server.url, certified, { hostname: 'registry.test' })
  await using upstream = upstreamAt(front.url, { tls, proxies: through(proxy) })
  assert.ok(manifest.equals((await upstream.repository(name).manifests.get(manifestDigest)).bytes))
  assert.deepEqual(
    proxy.seen.map(({ line, headers }) => [line, headers['proxy-authorization']]),
    [[`CONNECT ${front.url.host}`, authorization]],
  )
  assert.doesNotMatch(JSON.stringify(server.requests.map(({ headers }) => headers)), /proxy-auth|canary|Basic/)
  front.use(authority.issue({ names: ['other.test'] }))
  front.cut()
  await using other = upstreamAt(front.url, { tls, proxies: through(proxy) })
  await failure(other.repository(name).manifests.get(manifestDigest), 'unreachable')
})

test('P8: of two hosts behind one proxy, only the upstream is shown our certificate', async () => {
  await using proxy = await startProxy()
  const ours = authority.issue()
  await using stranger = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  const names = { names: ['registry.test', 'cdn.test'] }
  await using cdn = await tlsFront(stranger.url, authority.issue(names), { hostname: 'cdn.test' })
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: new URL('/m', cdn.url).href }),
  )
  await using front = await tlsFront(server.url, authority.issue(names), { hostname: 'registry.test' })
  const identity = { certificate: ours.certificate, key: ours.key }
  await using upstream = upstreamAt(front.url, { tls: { ...tls, identity }, proxies: through(proxy) })
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.notEqual(front.clients[0], '')
  assert.deepEqual(cdn.clients, [''])
})

test('P8: an http upstream is asked for by its whole URL', async () => {
  await using proxy = await startProxy()
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  const url = new URL(`http://registry.test:${server.url.port}`)
  await using upstream = upstreamAt(url, { proxies: through(proxy) })
  await upstream.repository(name).manifests.get(manifestDigest)
  const [first] = proxy.seen
  assert.equal(first?.line, `GET ${url.origin}/v2/${name}/manifests/${manifestDigest}`)
  assert.equal(first?.headers['proxy-authorization'], authorization)
  assert.equal(server.requests[0]?.headers.host, url.host)
})

test('T-63: behind a proxy, too, a redirect to a private address is refused', async () => {
  await using proxy = await startProxy()
  await using server = await scriptedServer((_request, response) =>
    reply(response, 307, { location: 'http://169.254.169.254/latest' }),
  )
  await using upstream = upstreamAt(new URL(`http://registry.test:${server.url.port}`), { proxies: through(proxy) })
  await failure(upstream.repository(name).manifests.get(manifestDigest), 'invalid')
  assert.equal(proxy.seen.length, 1)
})

test('P10: a proxy that refuses, or is not there, is a failure that gives nothing away', async () => {
  for (const url of ['https://registry.test', 'http://registry.test']) {
    for (const status of [403, 407, 502]) {
      await using proxy = await startProxy(status)
      await using upstream = upstreamAt(new URL(url), { proxies: through(proxy) })
      await assert.rejects(upstream.repository(name).manifests.get(manifestDigest), (error) => {
        assert.ok(error instanceof Error && error.name === 'UpstreamError', String(error))
        for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
          assert.doesNotMatch(cause.message, new RegExp(canary))
        }
        return true
      })
    }
    const nobody = new URL(`http://me:${canary}@127.0.0.1:1`)
    await using upstream = upstreamAt(new URL(url), { proxies: { http: nobody, https: nobody, except: [] } })
    const { message } = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
    assert.equal(message, 'registry.test cannot be reached through its proxy (ECONNREFUSED)')
  }
})

test('P10: a proxy that should speak TLS and does not is not taken for an upstream that does not', async () => {
  await using proxy = await startProxy()
  const secured = { url: new URL(proxy.url.href.replace('http:', 'https:')) }
  for (const url of ['http://registry.test', 'https://registry.test']) {
    await using upstream = upstreamAt(new URL(url), { proxies: through({ ...proxy, ...secured }) })
    const { message } = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unreachable')
    assert.match(message, /^registry\.test cannot be reached through its proxy: it does not speak TLS \(ERR_SSL_\w+\)$/)
  }
})

test('P10: a proxy that makes no tunnel is not taken for an upstream that breaks off', async () => {
  await using proxy = await startProxy(403)
  await using upstream = upstreamAt(new URL('https://registry.test'), { proxies: through(proxy) })
  const { message } = await failure(upstream.repository(name).manifests.get(manifestDigest), 'unavailable')
  assert.equal(message, 'the connection to registry.test through its proxy broke (UND_ERR_ABORTED)')
})

test('what is excepted is reached without the proxy', async () => {
  await using proxy = await startProxy()
  await using server = await scriptedServer((_request, response) => reply(response, 200, {}, manifest))
  await using upstream = upstreamAt(server.url, { proxies: through(proxy, ['127.0.0.0/8']) })
  await upstream.repository(name).manifests.get(manifestDigest)
  assert.deepEqual(proxy.seen, [])
})

const exceptions: ReadonlyArray<[pattern: string, url: string, isExcepted: boolean]> = [
  ['*', 'https://a.example', true],
  ['a.example', 'https://a.example', true],
  ['A.example', 'https://a.EXAMPLE:8443', true],
  ['example', 'https://a.example', true],
  ['.a.example', 'https://a.example', false],
  ['.example', 'https://a.example', true],
  ['*.example', 'https://a.example', true],
  ['a.example', 'https://aa.example', false],
  ['a.example:443', 'https://a.example', true],
  ['a.example:80', 'https://a.example', false],
  ['10.0.0.0/8', 'http://10.1.2.3', true],
  ['10.0.0.0/8', 'http://11.1.2.3', false],
  ['10.1.2.3', 'http://10.1.2.3:5000', true],
  ['10.1.2.3:5000', 'http://10.1.2.3:5000', true],
  ['::1', 'http://[::1]:5000', true],
  ['fd00::/8', 'http://[fd12::1]', true],
  ['10.0.0.0/99', 'http://10.1.2.3', false],
  ['0.0.0/x', 'http://10.0.0.0', false],
  ['10.0.0.0/', 'http://10.1.2.3', false],
  ['10.0.0.0/0x8', 'http://10.1.2.3', false],
]

for (const [pattern, url, isExcepted] of exceptions) {
  test(`${url} is ${isExcepted ? '' : 'not '}excepted by ${pattern}`, () => {
    const proxy = new URL('http://proxy.example')
    const found = proxyFor(new URL(url), { http: proxy, https: proxy, except: ['other.example', pattern] })
    assert.equal(found, isExcepted ? undefined : proxy)
  })
}

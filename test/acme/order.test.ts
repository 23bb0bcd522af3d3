// How an authority is asked: what does not answer, or answers nonsense, is an error that says so, and soon.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { test } from 'node:test'
import { orderBy, type CertificateRequest } from '../../src/acme/order.ts'
import { UnreachableError } from '../../src/acme/transport.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const account = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

const direct = orderBy({ userAgent: 'entrepot/test', proxyFor: () => undefined })

function ask(directory: string, signal: AbortSignal = new AbortController().signal): CertificateRequest {
  return {
    directory,
    account,
    email: undefined,
    hosts: ['a.test'],
    prove: () => assert.fail('nothing is proven'),
    signal,
  }
}

interface Authority extends AsyncDisposable {
  readonly url: string
  readonly server: Server
}

async function authority(onRequest: RequestListener): Promise<Authority> {
  const server = createServer(onRequest).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    url: `http://127.0.0.1:${address.port}/dir`,
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

test('an authority that cannot be reached is named, with the reason, at the first attempt', async () => {
  let url: string
  {
    await using gone = await authority(() => {})
    url = gone.url
  }
  await assert.rejects(direct(ask(url)), (error: unknown) => {
    assert.ok(error instanceof UnreachableError)
    assert.match(error.message, /^127\.0\.0\.1:\d+ cannot be reached: connect ECONNREFUSED/)
    return true
  })
})

test('an authority that is at its limits, or broken, is asked once, and says who asks', async () => {
  for (const status of [429, 503]) {
    const agents: unknown[] = []
    await using busy = await authority((request, response) => {
      agents.push(request.headers['user-agent'])
      response.writeHead(status, { 'retry-after': '86400', 'content-type': 'application/json' }).end('{}')
    })
    await assert.rejects(direct(ask(busy.url)), new RegExp(`directory returned error ${status}`))
    assert.deepEqual(agents, ['entrepot/test'])
  }
})

test('an authority that is lost on the way is one that may have counted us', async () => {
  const asked: string[] = []
  await using lost = await authority((request, response) => {
    const { method = '', url = '', headers } = request
    asked.push(`${method} ${url}`)
    const base = `http://${headers.host}`
    const directory = { newNonce: `${base}/nonce`, newAccount: `${base}/account`, newOrder: `${base}/order` }
    response.setHeader('replay-nonce', 'once').setHeader('location', `${base}/account/1`)
    if (url === '/order') request.socket.destroy()
    else
      response
        .writeHead(url === '/account' ? 201 : 200, { 'content-type': 'application/json' })
        .end(JSON.stringify(directory))
  })
  await assert.rejects(direct(ask(lost.url)), (error: unknown) => {
    assert.ok(error instanceof Error && !(error instanceof UnreachableError))
    assert.match(error.message, /^the authority was lost on the way: 127\.0\.0\.1:\d+ cannot be reached: /)
    return true
  })
  assert.deepEqual(asked, ['GET /dir', 'HEAD /nonce', 'POST /account', 'HEAD /nonce', 'POST /order'])
})

test('P7: an answer without an end is broken off', async () => {
  await using endless = await authority((_request, response) => {
    const more = (): void => void (response.destroyed || response.write(Buffer.alloc(64 * 1024), more))
    more()
  })
  await assert.rejects(direct(ask(endless.url)), UnreachableError)
})

test('P9: an order is called off at once, whatever it waits for', async () => {
  const asked = Promise.withResolvers<void>()
  await using silent = await authority(() => asked.resolve())
  const stop = new AbortController()
  const order = direct(ask(silent.url, stop.signal))
  await asked.promise
  stop.abort(new Error('the server ends'))
  await assert.rejects(order, /the server ends/)
})

test('where a proxy is configured it is asked for the way, and told who we are', async () => {
  const asked: unknown[] = []
  await using proxy = await authority(() => {})
  proxy.server.on('connect', (request, socket) => {
    asked.push(request.url, request.headers['proxy-authorization'])
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
  })
  const url = new URL(proxy.url)
  const order = orderBy({ userAgent: 'entrepot/test', proxyFor: () => ({ url, token: 'Basic bWU6c2VjcmV0' }) })
  await assert.rejects(order(ask('https://authority.test/dir')), UnreachableError)
  assert.deepEqual(asked, ['authority.test:443', 'Basic bWU6c2VjcmV0'])
})

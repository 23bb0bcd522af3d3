// `http.tls`: what is shown, what is asked of clients, and files that change while we serve.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { rename, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { listen, type Listener } from '../../src/http/listener.ts'
import { TlsFiles, type TlsFilesOptions } from '../../src/http/tls-files.ts'
import { makeAuthority, selfSigned, type Certified } from '../support/certificates.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'
import { selfSignedTls } from '../support/tls-files.ts'

const authority = makeAuthority()
const names = ['registry.test']
const shown = authority.issue({ names })

interface Secured extends AsyncDisposable {
  readonly listener: Listener
  readonly lines: Recording['lines']
  readonly until: Recording['until']
  /** Writes a file beside, and then in the place of the old, as careful tools do. */
  write(name: string, text: string): Promise<void>
  renew(certified: Certified): Promise<void>
}

async function serve(
  options: Partial<TlsFilesOptions> & { clients?: string } = {},
  onRequest?: () => void,
): Promise<Secured> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  const path = (name: string): string => join(folder.path, name)
  const write = async (name: string, text: string): Promise<void> => {
    await writeFile(path(`${name}.new`), text)
    await rename(path(`${name}.new`), path(name))
  }
  const renew = async ({ certificate, key }: Certified): Promise<void> => {
    await write('a.pem', certificate)
    await write('a.key', key)
  }
  await renew(shown)
  const { clients, ...others } = options
  if (clients !== undefined) await write('clients.pem', clients)
  const { logger, lines, until } = recordingLogger()
  const files = opening.use(
    await TlsFiles.open({
      identity: { certificate: path('a.pem'), key: path('a.key') },
      clientAuthorities: clients === undefined ? [] : [path('clients.pem')],
      clientAuth: 'require-and-verify-client-cert',
      minimumVersion: 'TLSv1.2',
      logger,
      ...others,
    }),
  )
  const listener = opening.use(
    await listen(
      async ({ scheme }) => {
        onRequest?.()
        return { status: 200, headers: {}, body: Buffer.from(scheme) }
      },
      {
        host: '127.0.0.1',
        port: 0,
        tls: files,
        logger,
      },
    ),
  )
  const resources = opening.move()
  return { listener, lines, until, write, renew, [Symbol.asyncDispose]: async () => await resources.disposeAsync() }
}

/** Resolves with the answer's body; fails where the connection does. */
async function ask({ listener }: Secured, options: ConnectionOptions = {}): Promise<string> {
  const trust = { ca: authority.certificate, servername: 'registry.test', agent: false }
  const outgoing = request({ host: '127.0.0.1', port: listener.port, ...trust, ...options }).end()
  const [response] = await once(outgoing, 'response')
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return body
}

async function shake({ listener }: Secured, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const trust = { ca: authority.certificate, servername: 'registry.test' }
  const socket = connect({ host: '127.0.0.1', port: listener.port, ...trust, ...options })
  socket.on('error', () => {}) // it is seen by whoever waits
  await once(socket, 'secureConnect')
  return socket
}

async function serialShown(secured: Secured): Promise<string | undefined> {
  const socket = await shake(secured)
  const serial = socket.getPeerX509Certificate()?.serialNumber
  socket.destroy()
  return serial
}

function serialOf({ certificate }: Certified): string {
  return new X509Certificate(certificate).serialNumber
}

test('a listener with a certificate serves https, and says so', async () => {
  await using secured = await serve()
  assert.equal(await ask(secured), 'https')
  assert.match(secured.listener.url, /^https:\/\/127\.0\.0\.1:\d+$/)
  await assert.rejects(ask(secured, { ca: makeAuthority().certificate }), /unable to verify|self-signed|issuer/)
})

test('HTTP/1.1 is what ALPN agrees on, and a client that knows only h2 is told so', async () => {
  await using secured = await serve()
  const socket = await shake(secured, { ALPNProtocols: ['h2', 'http/1.1'] })
  assert.equal(socket.alpnProtocol, 'http/1.1')
  socket.destroy()
  await assert.rejects(shake(secured, { ALPNProtocols: ['h2'] }), /no application protocol/)
})

test('of ciphers that are safe, the client has the choice', async () => {
  await using secured = await serve()
  const [slow, fast] = ['TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256']
  for (const ciphers of [`${slow}:${fast}`, `${fast}:${slow}`]) {
    const socket = await shake(secured, { ciphers })
    assert.equal(socket.getCipher().standardName, ciphers.split(':')[0])
    socket.destroy()
  }
})

test('TLS 1.1 is never spoken, and 1.2 not where 1.3 is the least', async () => {
  await using usual = await serve()
  const old = { ciphers: 'DEFAULT@SECLEVEL=0' }
  await assert.rejects(shake(usual, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ...old }))
  const socket = await shake(usual, { maxVersion: 'TLSv1.2' })
  assert.equal(socket.getProtocol(), 'TLSv1.2')
  socket.destroy()
  await using modern = await serve({ minimumVersion: 'TLSv1.3' })
  await assert.rejects(shake(modern, { maxVersion: 'TLSv1.2' }))
  assert.equal(await ask(modern), 'https')
})

test('the ciphers that are named are those of TLS 1.2', async () => {
  await using secured = await serve({ ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384' })
  const socket = await shake(secured, { maxVersion: 'TLSv1.2' })
  assert.equal(socket.getCipher().name, 'ECDHE-ECDSA-AES256-GCM-SHA384')
  socket.destroy()
  await assert.rejects(shake(secured, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }))
})

/** What a client sends after its first words reaches the server in one piece: its last of the handshake, and a request. */
async function relay(port: number): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const behind = createConnection({ host: '127.0.0.1', port })
    let isFirst = true
    let held = Buffer.alloc(0)
    client.on('data', (bytes) => {
      held = Buffer.concat([held, bytes])
      if (!isFirst && held.byteLength < 4096) return
      isFirst = false
      behind.write(held)
      held = Buffer.alloc(0)
    })
    behind.on('data', (bytes) => client.write(bytes))
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: own } = server.address() as AddressInfo
  return {
    port: own,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('P8: a client that may not in is not heard, also where its request comes with the end of the handshake', async () => {
  for (const clientAuth of ['require-any-client-cert', 'verify-client-cert-if-given'] as const) {
    let heard = 0
    await using secured = await serve({ clientAuth, clients: clients.certificate }, () => heard++)
    await using between = await relay(secured.listener.port)
    const given = clientAuth === 'verify-client-cert-if-given' ? identity(stranger) : {}
    const trust = { ca: authority.certificate, servername: 'registry.test' }
    const socket = connect({ host: '127.0.0.1', port: between.port, ...trust, ...given, minVersion: 'TLSv1.3' })
    socket.on('error', () => {}) // it is cut
    socket.write(`GET / HTTP/1.1\r\nhost: registry.test\r\nx: ${'x'.repeat(8192)}\r\n\r\n`)
    await once(socket, 'close')
    assert.equal(heard, 0, clientAuth)
  }
})

const clients = makeAuthority()
const known = clients.issue()
const stranger = selfSigned()

const welcome: Readonly<
  Record<TlsFilesOptions['clientAuth'], Readonly<Record<'none' | 'stranger' | 'known', boolean>>>
> = {
  'request-client-cert': { none: true, stranger: true, known: true },
  'require-any-client-cert': { none: false, stranger: true, known: true },
  'verify-client-cert-if-given': { none: true, stranger: false, known: true },
  'require-and-verify-client-cert': { none: false, stranger: false, known: true },
}

for (const clientAuth of Object.keys(welcome) as TlsFilesOptions['clientAuth'][]) {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`P8: ${clientAuth} with ${version} lets in whom it should, the first time and again`, async () => {
      await using secured = await serve({ clientAuth, clients: clients.certificate })
      const identities = { none: {}, stranger: identity(stranger), known: identity(known) }
      for (const who of ['none', 'stranger', 'known', 'stranger', 'none'] as const) {
        const asked = ask(secured, { ...identities[who], maxVersion: version })
        if (welcome[clientAuth][who]) assert.equal(await asked, 'https', who)
        else await assert.rejects(asked, who)
      }
      const allowed = Object.values(welcome[clientAuth]).filter(Boolean).length
      assert.ok(secured.lines.length <= 5 && allowed > 0, 'handshakes that fail are no lines above debug')
    })
  }
}

function identity({ certificate, key }: Certified): ConnectionOptions {
  return { cert: certificate, key }
}

test('P8: a session of a client opens nothing when its authority counts no more', async () => {
  await using secured = await serve({ clients: clients.certificate, interval: 5 })
  const socket = await shake(secured, { ...identity(known), maxVersion: 'TLSv1.2' })
  const session = socket.getSession()
  socket.destroy()
  await secured.write('clients.pem', makeAuthority().certificate)
  await secured.until(({ msg }) => msg === 'new certificate in use')
  await assert.rejects(ask(secured, { ...identity(known), maxVersion: 'TLSv1.2', ...(session && { session }) }))
})

test('P9: authorities of clients that are renewed are read to the last, and one that is torn changes nothing', async () => {
  const second = makeAuthority()
  const late = second.issue()
  await using secured = await serve({ clients: clients.certificate, interval: 5 })
  const torn = second.certificate.replace(/.{20}\n-----END/s, '\n-----END')
  const isTold = ({ msg }: Record<string, unknown>): boolean => /certificate/.test(String(msg))
  for (const [text, told] of [
    [`${clients.certificate}\n${torn}`, 'certificate files cannot be used: the old ones stay in use'],
    ['words', 'certificate files cannot be used: the old ones stay in use'],
    [`${clients.certificate}\n${second.certificate}`, 'new certificate in use'],
  ] as const) {
    await assert.rejects(ask(secured, identity(late)))
    secured.lines.length = 0
    await secured.write('clients.pem', text)
    await secured.until(isTold)
    assert.deepEqual([secured.lines.find(isTold)?.['msg']], [told], text)
    assert.equal(await ask(secured, identity(known)), 'https')
  }
  assert.equal(await ask(secured, identity(late)), 'https')
})

test('a certificate that is renewed is shown from the next connection on, and those that stand stay', async () => {
  await using secured = await serve({ interval: 5 })
  const standing = await shake(secured)
  assert.equal(await serialShown(secured), serialOf(shown))
  const renewed = authority.issue({ names })
  await secured.renew(renewed)
  await secured.until(({ msg }) => msg === 'new certificate in use')
  assert.equal(await serialShown(secured), serialOf(renewed))
  standing.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  assert.match(String((await once(standing, 'data'))[0]), /^HTTP\/1\.1 200 /)
  standing.destroy()
})

test('requests that come at once, each in a record of its own, are answered, also where answers have to wait', async () => {
  using tls = await selfSignedTls()
  const body = Buffer.alloc(60_000, 'x') // a few of them are more than Node lets wait on one connection
  await using listener = await listen(() => ({ status: 200, headers: {}, body }), {
    host: '127.0.0.1',
    port: 0,
    logger: silentLogger,
    tls,
  })
  const held: Buffer[] = []
  let isHeld = false
  const plain = createConnection({ port: listener.port, host: '127.0.0.1' })
  const dam = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      if (isHeld) held.push(chunk)
      else plain.write(chunk)
      done()
    },
  })
  plain.on('data', (chunk) => dam.push(chunk)).on('close', () => dam.push(null))
  const client = connect({ socket: dam, rejectUnauthorized: false })
  await once(client, 'secureConnect')
  await once(client.resume(), 'session')
  let received = ''
  client.on('data', (chunk) => (received += String(chunk)))
  isHeld = true
  for (let time = 0; time < 12; time++) {
    await new Promise((resolve) => client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n', resolve))
  }
  plain.write(Buffer.concat(held))
  const answers = (): number => received.split('HTTP/1.1 200 OK').length - 1
  while (answers() < 12 && !client.readableEnded) await Promise.race([once(client, 'data'), once(client, 'end')])
  assert.equal(answers(), 12)
  plain.destroy()
})

const useless: Readonly<Record<string, Partial<Certified>>> = {
  'no certificate': { certificate: 'words' },
  'a torn certificate': { certificate: shown.certificate.slice(0, 200) },
  'no key': { key: '' },
  'the key of another': { key: authority.issue({ names }).key },
}

for (const [what, files] of Object.entries(useless)) {
  test(`P9: ${what} in the place of what we have changes nothing, is said once, and is mended later`, async () => {
    await using secured = await serve({ interval: 5 })
    for (const [name, text] of Object.entries(files)) {
      await secured.write(name === 'key' ? 'a.key' : 'a.pem', text)
    }
    const isTrouble = ({ msg }: Record<string, unknown>): boolean => /cannot be used/.test(String(msg))
    await secured.until(isTrouble)
    assert.equal(await serialShown(secured), serialOf(shown))
    const renewed = authority.issue({ names })
    await secured.renew(renewed)
    await secured.until(({ msg }) => msg === 'new certificate in use')
    assert.equal(await serialShown(secured), serialOf(renewed))
    assert.ok(secured.lines.filter(isTrouble).length <= 2, 'once for each change of the files')
    assert.doesNotMatch(JSON.stringify(secured.lines), /BEGIN|words/)
  })
}

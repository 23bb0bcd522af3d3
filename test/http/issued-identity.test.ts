// A certificate that comes while we serve, and the proof that an authority wants to see before (RFC 8737).
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { connect, createSecureContext, type ConnectionOptions, type SecureContext, type TLSSocket } from 'node:tls'
import type { Identity, IssuedIdentity } from '../../src/http/issued-identity.ts'
import { listen, type Listener } from '../../src/http/listener.ts'
import { TlsFiles } from '../../src/http/tls-files.ts'
import { makeAuthority, selfSigned, type Certified } from '../support/certificates.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'

const proof = selfSigned({ names: ['proof.test'] })
const issued = selfSigned({ names: ['registry.test'] })

class Issued implements IssuedIdentity {
  current: Identity | undefined
  readonly proofs = new Map<string, SecureContext>()
  #onChange = (): void => assert.fail('nobody listens yet')

  proofFor(host: string): SecureContext | undefined {
    return this.proofs.get(host)
  }

  begin(onChange: () => void): void {
    this.#onChange = onChange
  }

  take(identity: Identity): void {
    this.current = identity
    this.#onChange()
  }

  prove(host: string, { certificate: cert, key }: Certified): void {
    this.proofs.set(host, createSecureContext({ cert, key }))
  }
}

interface Secured extends AsyncDisposable, Pick<Recording, 'lines' | 'until'> {
  readonly listener: Listener
  readonly identity: Issued
  readonly requests: string[]
}

async function serve(current?: Identity): Promise<Secured> {
  const { logger, lines, until } = recordingLogger()
  const identity = new Issued()
  identity.current = current
  const requests: string[] = []
  const files = await TlsFiles.open({
    identity,
    clientAuthorities: [],
    clientAuth: 'require-and-verify-client-cert',
    minimumVersion: 'TLSv1.2',
    logger,
  })
  const listener = await listen(
    async ({ path }) => {
      requests.push(path)
      return { status: 200, headers: {} }
    },
    { host: '127.0.0.1', port: 0, tls: files, logger },
  )
  return {
    listener,
    identity,
    requests,
    lines,
    until,
    async [Symbol.asyncDispose]() {
      files[Symbol.dispose]()
      await listener[Symbol.asyncDispose]()
    },
  }
}

async function shake({ listener }: Secured, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const usual = { servername: 'registry.test', rejectUnauthorized: false }
  const socket = connect({ host: '127.0.0.1', port: listener.port, ...usual, ...options })
  socket.on('error', () => {}) // it is seen by whoever waits
  await once(socket, 'secureConnect')
  return socket
}

/** The names in the certificate that is shown. */
async function shownTo(secured: Secured, options?: ConnectionOptions): Promise<string | undefined> {
  const socket = await shake(secured, options)
  const names = socket.getPeerX509Certificate()?.subjectAltName
  socket.destroy()
  return names
}

const asksForProof = { ALPNProtocols: ['acme-tls/1'] }

test('who asks for a proof is shown it and no more, and all others are shown the certificate meanwhile', async () => {
  await using secured = await serve(issued)
  secured.identity.prove('registry.test', proof)
  for (const minVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const version = { minVersion, maxVersion: minVersion }
    const socket = await shake(secured, { ...version, ...asksForProof })
    assert.equal(socket.alpnProtocol, 'acme-tls/1')
    assert.equal(socket.getPeerX509Certificate()?.fingerprint, new X509Certificate(proof.certificate).fingerprint)
    const ended = once(socket, 'close')
    socket.resume().write('GET /proof HTTP/1.1\r\nhost: a\r\n\r\n')
    await ended
    assert.equal(await shownTo(secured, version), 'DNS:registry.test')
    assert.equal(await shownTo(secured, { ...version, ALPNProtocols: ['http/1.1'] }), 'DNS:registry.test')
    const both = { ...version, ALPNProtocols: ['acme-tls/1', 'http/1.1'] }
    assert.equal(await shownTo(secured, both), 'DNS:registry.test')
  }
  assert.deepEqual(secured.requests, [])
})

test('there is a proof before there is any certificate', async () => {
  await using secured = await serve()
  secured.identity.prove('registry.test', proof)
  assert.equal(await shownTo(secured, { ...asksForProof, servername: 'Registry.TEST' }), 'DNS:proof.test')
  await assert.rejects(shake(secured), /alert/)
})

test('there is no proof for a host of which none was asked, nor for none', async () => {
  await using secured = await serve(issued)
  await assert.rejects(shake(secured, asksForProof), /no application protocol/)
  secured.identity.prove('other.test', proof)
  await assert.rejects(shake(secured, asksForProof), /no application protocol/)
  await assert.rejects(shake(secured, { ...asksForProof, servername: '' }), /no application protocol/)
})

test('HTTP/1.1 is what all others agree on, and a client that knows only h2 is told so', async () => {
  await using secured = await serve(issued)
  const socket = await shake(secured, { ALPNProtocols: ['h2', 'http/1.1'] })
  assert.equal(socket.alpnProtocol, 'http/1.1')
  socket.destroy()
  await assert.rejects(shake(secured, { ALPNProtocols: ['h2'] }), /no application protocol/)
})

test('a certificate that comes, or is renewed, is shown from the next connection on', async () => {
  await using secured = await serve()
  await assert.rejects(shake(secured), /alert/)
  for (const names of [['first.test'], ['second.test']]) {
    secured.lines.length = 0
    secured.identity.take(makeAuthority().issue({ names }))
    await secured.until(({ msg }) => msg === 'new certificate in use')
    assert.equal(await shownTo(secured), `DNS:${names[0]}`)
  }
})

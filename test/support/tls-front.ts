// TLS in front of a plain server: the same answers, under whatever certificate a test wants to see.
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import type { Certified } from './certificates.ts'

export interface TlsFront extends AsyncDisposable {
  /** At the name that was asked for; only a test's own `resolve` knows it. */
  readonly url: URL
  /** How many connections were made so far, whether they became secure or not. */
  readonly connections: () => number
  /** Of each connection that became secure: the client's certificate, as its DER in hex; empty without one. */
  readonly clients: readonly string[]
  /** From the next connection on. */
  use(certified: Certified): void
  /** Ends the connections that stand. */
  cut(): void
}

export interface TlsFrontOptions {
  readonly hostname: string
  /** All are asked for a certificate; with this, whoever has none that it has signed is refused. */
  readonly clientAuthority?: string
}

export async function tlsFront(target: URL, certified: Certified, options: TlsFrontOptions): Promise<TlsFront> {
  const { hostname, clientAuthority } = options
  const sockets = new Set<Socket>()
  const clients: string[] = []
  let connections = 0
  const context = ({ certificate, key }: Certified): { cert: string; key: string; ca?: string } => ({
    cert: certificate,
    key,
    ...(clientAuthority === undefined ? {} : { ca: clientAuthority }),
  })
  const server = createServer({
    ...context(certified),
    requestCert: true,
    rejectUnauthorized: clientAuthority !== undefined,
  })
  server.on('connection', (socket: Socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.on('tlsClientError', () => {}) // whoever does not like the certificate hangs up
  server.on('secureConnection', (socket: TLSSocket) => {
    clients.push(socket.getPeerX509Certificate()?.raw.toString('hex') ?? '')
    const inner = connect(Number(target.port), target.hostname)
    sockets.add(inner)
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: new URL(`https://${hostname}:${port}`),
    connections: () => connections,
    clients,
    use: (other) => server.setSecureContext(context(other)),
    cut,
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

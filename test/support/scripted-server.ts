// A real HTTP server that does what a test tells it to, and remembers what it was asked.
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface ReceivedRequest {
  readonly method: string
  /** As it came: path and query. */
  readonly url: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly authorization: string | undefined
  readonly body: string
  /** Which request of its connection this is, from 1 on. */
  readonly nth: number
}

/** Answers one request. What it throws ends the connection, and fails the disposal of the server. */
export type Script = (request: ReceivedRequest, response: ServerResponse) => void | Promise<void>

export interface ScriptedServer extends AsyncDisposable {
  readonly url: URL
  readonly host: string
  /** In the order they came. */
  readonly requests: readonly ReceivedRequest[]
  /** How many connections were made so far. */
  readonly connections: () => number
  /** `GET /v2/a/tags/list`, for each request. */
  readonly log: () => string[]
}

export async function scriptedServer(script: Script): Promise<ScriptedServer> {
  const requests: ReceivedRequest[] = []
  const sockets = new Set<Socket>()
  const perSocket = new WeakMap<Socket, number>()
  const failures: unknown[] = []
  let connections = 0
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(Buffer.from(chunk))
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://scripted')
      const nth = (perSocket.get(request.socket) ?? 0) + 1
      perSocket.set(request.socket, nth)
      const received: ReceivedRequest = {
        method: request.method ?? '',
        url: request.url ?? '',
        path: pathname,
        query: searchParams,
        headers: request.headers,
        authorization: request.headers.authorization,
        body: Buffer.concat(chunks).toString('utf8'),
        nth,
      }
      requests.push(received)
      await script(received, response)
    }
    answer().catch((error: unknown) => {
      if (!request.socket.destroyed) failures.push(error)
      request.socket.destroy()
    })
  })
  server.on('connection', (socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = new URL(`http://127.0.0.1:${port}`)
  return {
    url,
    host: url.host,
    requests,
    connections: () => connections,
    log: () => requests.map((request) => `${request.method} ${request.url}`),
    async [Symbol.asyncDispose](): Promise<void> {
      for (const socket of sockets) socket.destroy()
      if (server.listening) {
        server.close()
        await once(server, 'close')
      }
      if (failures.length > 0) throw new AggregateError(failures, 'the script of a server failed')
    },
  }
}

/** Answers with a whole body, or JSON where it is given an object. */
export function reply(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string | string[]>> = {},
  body: string | Uint8Array | object = '',
): void {
  const isBytes = typeof body === 'string' || body instanceof Uint8Array
  const bytes = isBytes ? Buffer.from(body) : Buffer.from(JSON.stringify(body))
  const type = isBytes ? {} : { 'content-type': 'application/json' }
  response.writeHead(status, { 'content-length': String(bytes.length), ...type, ...headers })
  response.end(bytes)
}

// pebble, a small authority that is asked by ACME, and for which every name leads to this machine.
import { once } from 'node:events'
import { request } from 'node:https'
import { createServer, type Socket } from 'node:net'
import { makeAuthority } from './certificates.ts'
import { freePort, startProcess, until, type Folder, type Running } from './real-parts.ts'

export interface Pebble extends AsyncDisposable {
  /** The URL of its directory. */
  readonly directory: string
  /** A file of the authority that its own certificate is of, in PEM. */
  readonly trust: string
  /** Of the certificates that it issues, in PEM. */
  readonly root: string
  readonly process: Running
  /** How many certificates it was asked for. */
  orders(): number
}

/** It looks for proofs at `port` of whatever name. */
export async function startPebble(folder: Folder, port: number): Promise<Pebble> {
  await using opening = new AsyncDisposableStack()
  const dns = opening.use(await startDns())
  const authority = makeAuthority()
  const own = authority.issue({ names: ['127.0.0.1'] })
  const [listen, manage] = [await freePort(), await freePort()]
  const config = {
    pebble: {
      listenAddress: `127.0.0.1:${listen}`,
      managementListenAddress: `127.0.0.1:${manage}`,
      certificate: await folder.write('pebble.pem', own.certificate),
      privateKey: await folder.write('pebble.key', own.key),
      httpPort: 1,
      tlsPort: port,
    },
  }
  const file = await folder.write('pebble.json', JSON.stringify(config))
  const env = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_AUTHZREUSE: '0' }
  const running = await startProcess('pebble', ['-config', file, '-dnsserver', `127.0.0.1:${dns.port}`], { env })
  opening.use(running)
  const directory = `https://127.0.0.1:${listen}/dir`
  let root = ''
  // It says that it listens a moment before it does.
  await until('pebble answers', async () => {
    try {
      await get(directory, authority.certificate)
      root = await get(`https://127.0.0.1:${manage}/roots/0`, authority.certificate)
      return true
    } catch {
      return false
    }
  })
  const resources = opening.move()
  return {
    directory,
    trust: await folder.write('pebble-authority.pem', authority.certificate),
    root,
    process: running,
    orders: () => running.output().match(/orders in the db/g)?.length ?? 0,
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

async function get(url: string, ca: string): Promise<string> {
  const [response] = await once(request(url, { ca, agent: false }).end(), 'response')
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return body
}

/** Says of every name that it is 127.0.0.1 (RFC 1035 §4.1, by TCP §4.2.2), and has no other address. */
async function startDns(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {}) // it has asked all it wanted
    void answerAll(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}

async function answerAll(socket: Socket): Promise<void> {
  let held = Buffer.alloc(0)
  for await (const chunk of socket) {
    held = Buffer.concat([held, chunk])
    while (held.byteLength > 2 && held.byteLength >= 2 + held.readUInt16BE()) {
      const end = 2 + held.readUInt16BE()
      const reply = answerTo(held.subarray(2, end))
      socket.write(Buffer.concat([Buffer.from([reply.byteLength >> 8, reply.byteLength & 0xff]), reply]))
      held = held.subarray(end)
    }
  }
}

function answerTo(query: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 5
  const isForIpv4 = query.readUInt16BE(end - 4) === 1
  const counts = [0, 1, 0, isForIpv4 ? 1 : 0, 0, 0, 0, 0]
  const answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]
  const parts = [query.subarray(0, 2), Buffer.from([0x81, 0x80, ...counts]), query.subarray(12, end)]
  return Buffer.concat(isForIpv4 ? [...parts, Buffer.from(answer)] : parts)
}

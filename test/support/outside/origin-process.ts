// The upstream of all measures, as a process of its own: what it counts is what it really handed to the network. It speaks
// HTTP on bare sockets, so that it can break every rule of it.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { archiveOf } from './archive.ts'
import type { Asked, Command, Fault, Kind, Place, Rule } from './faults.ts'
import { blobOf, documentOf, manifestOf, pieceEnd, wholeOf, type StoredObject } from './objects.ts'

interface Incoming {
  readonly method: string
  readonly path: string
  readonly headers: ReadonlyMap<string, string>
  readonly asked: { -readonly [key in keyof Asked]: Asked[key] }
}

type Body = Extract<Fault, { do: 'cut' | 'stall' | 'hold' | 'pace' | 'drip' | 'flip' }>

const objects = new Map<string, StoredObject>()
const sockets = new Set<Socket>()
let log: Incoming['asked'][] = []
let rules: { rule: Rule; left: number }[] = []
let released = Promise.withResolvers<void>()
let received = ''

const server = createServer({ noDelay: true }, (socket) => serve(socket, (request) => answer(socket, request)))
const foreign = createServer((socket) => {
  socket.on('data', (bytes) => (received += bytes.toString('latin1')))
  serve(socket, (request) => answerAsForeign(socket, request))
})

async function listenOn(target: Server, host: string, port = 0): Promise<AddressInfo> {
  target.listen({ host, port, backlog: 4096 })
  await once(target, 'listening')
  return target.address() as AddressInfo
}

const { port } = await listenOn(server, '127.0.0.1')
/** Another host, where the machine has the whole of 127.0.0.0/8; else another port. */
const elsewhere = await listenOn(foreign, '127.0.0.2').catch(async () => await listenOn(foreign, '127.0.0.1'))
const foreignUrl = `http://${elsewhere.address}:${elsewhere.port}`

/** One request after another, while the answers leave the connection fit for it. */
function serve(socket: Socket, onRequest: (request: Incoming) => Promise<boolean>): void {
  let text = ''
  let isBusy = false
  const goOn = async (): Promise<void> => {
    if (isBusy) return
    isBusy = true
    try {
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const request = parse(text.slice(0, end))
        text = text.slice(end + 4)
        if (!(await onRequest(request))) return
      }
      isBusy = false
    } catch {
      socket.destroy() // the other side has gone
    }
  }
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
  socket.on('error', () => {}) // what came over is in the log
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1')
    void goOn()
  })
}

function parse(head: string): Incoming {
  const [first = '', ...lines] = head.split('\r\n')
  const [method = '', path = ''] = first.split(' ')
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const asked = { method, path, range: headers.get('range'), authorization: headers.get('authorization'), bytes: 0 }
  log.push(asked)
  return { method, path, headers, asked }
}

/** Resolves with whether the connection can take one more request. */
async function answer(socket: Socket, request: Incoming): Promise<boolean> {
  const { path } = request
  if (path.startsWith('/token')) return await reply(socket, request, 200, {}, '{"token":"canary-token"}')
  const active = rules.find(({ rule, left }) => left > 0 && path.includes(rule.path))
  if (active === undefined) return await answerRightly(socket, request)
  active.left -= 1
  return await answerWith(active.rule.fault, socket, request)
}

async function answerWith(fault: Fault, socket: Socket, request: Incoming): Promise<boolean> {
  const { path, headers } = request
  switch (fault.do) {
    case 'silence':
      return await staySilent(socket)
    case 'reset':
      socket.resetAndDestroy()
      return false
    case 'reply':
      return await reply(socket, request, fault.status, { ...fault.headers }, fault.body ?? '')
    case 'redirect':
      return await reply(socket, request, 307, { location: fault.to === 'itself' ? path : foreignUrl + path }, '')
    case 'challenge': {
      if (headers.get('authorization')?.startsWith(fault.scheme) === true) return await answerRightly(socket, request)
      const realm = `${fault.realm === 'own' ? `http://127.0.0.1:${port}` : foreignUrl}/token`
      const challenge = fault.scheme === 'Basic' ? 'Basic realm="origin"' : `Bearer realm="${realm}",service="origin"`
      return await reply(socket, request, 401, { 'www-authenticate': challenge }, '')
    }
    case 'swap': {
      const found = find(path)
      const folder = path.slice(0, path.lastIndexOf('/'))
      const [, other] =
        [...objects].find(([key, { digest }]) => key.startsWith(folder) && digest !== found?.digest) ?? []
      return await answerRightly(socket, request, undefined, other)
    }
    case 'gzip': {
      const found = find(path)
      if (found === undefined) return await reply(socket, request, 404, {}, '')
      const body = gzipSync(found.read(0, Math.min(found.size, 1024 * 1024)), { level: 1 })
      const type = { 'content-type': found.mediaType, 'content-encoding': 'gzip' }
      return await reply(socket, request, 200, type, body)
    }
    case 'cut':
    case 'stall':
    case 'hold':
    case 'pace':
    case 'drip':
    case 'flip':
      return await answerRightly(socket, request, fault)
  }
}

function find(path: string): StoredObject | undefined {
  return objects.get(path.split('?')[0] ?? '')
}

async function staySilent(socket: Socket): Promise<boolean> {
  await once(socket, 'close')
  return false
}

async function reply(
  socket: Socket,
  request: Incoming,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array,
): Promise<boolean> {
  const all = { 'content-length': String(Buffer.byteLength(body)), ...headers }
  await write(socket, headOf(status, all))
  if (request.method !== 'HEAD') await write(socket, Buffer.from(body), request)
  return true
}

function headOf(status: number, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 ${status} -\r\n${lines.join('')}\r\n`)
}

/** Resolves when the kernel has them. @throws where the other side has gone */
async function write(socket: Socket, bytes: Uint8Array, request?: Incoming): Promise<void> {
  if (bytes.byteLength === 0) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)))
  await promise
  if (request !== undefined) request.asked.bytes += bytes.byteLength
}

async function answerRightly(
  socket: Socket,
  request: Incoming,
  fault?: Body,
  object: StoredObject | undefined = find(request.path),
): Promise<boolean> {
  if (request.path === '/v2/') return await reply(socket, request, 200, {}, '{}')
  if (object === undefined) return await reply(socket, request, 404, {}, '')
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get('range') ?? '') ?? []
  const isPart = from !== undefined
  const start = Number(from ?? 0)
  const end = to === undefined || to === '' ? object.size : Math.min(object.size, Number(to) + 1)
  if (isPart && start >= object.size) return await reply(socket, request, 416, {}, '')
  const hasLength = !(fault?.do === 'cut' && fault.withoutLength === true && request.method === 'GET')
  const head = headOf(isPart ? 206 : 200, {
    'content-type': object.mediaType,
    'docker-content-digest': object.digest,
    'accept-ranges': 'bytes',
    ...(hasLength ? { 'content-length': String(end - start) } : { connection: 'close' }),
    ...(isPart ? { 'content-range': `bytes ${start}-${end - 1}/${object.size}` } : {}),
  })
  if (fault?.do === 'drip' && request.method === 'HEAD') await drip(socket, head)
  else await write(socket, head)
  if (request.method === 'HEAD') return true
  return await sendBody(socket, request, object, { start, end }, fault)
}

/** Holds a sender back to so many bytes a second, though timers are late: what they lose is made up for, within a moment. */
class Pace {
  #free = 0

  /** A line that was idle has saved nothing up. */
  begin(): void {
    this.#free = Math.max(this.#free, performance.now())
  }

  async sent(bytes: number, bytesPerSecond: number): Promise<void> {
    const now = performance.now()
    this.#free = Math.max(this.#free, now - burst) + (1000 * bytes) / bytesPerSecond
    if (this.#free > now) await sleep(this.#free - now)
  }
}

/** In milliseconds: on a busy machine a timer may be as late as this. */
const burst = 50
const line = new Pace()

async function drip(socket: Socket, bytes: Uint8Array, request?: Incoming): Promise<void> {
  for (const byte of bytes) {
    await write(socket, Uint8Array.of(byte), request)
    await sleep(1000)
  }
}

async function sendBody(
  socket: Socket,
  request: Incoming,
  object: StoredObject,
  { start, end }: { readonly start: number; readonly end: number },
  fault: Body | undefined,
): Promise<boolean> {
  const place = fault !== undefined && 'at' in fault ? byteOf(fault.at, object.size) : Infinity
  let at = start
  const pace = fault?.do === 'pace' && fault.shared === true ? line : new Pace()
  pace.begin()
  const sendUntil = async (last: number): Promise<void> => {
    while (at < last) {
      const next = pieceEnd(at, last)
      let bytes = object.read(at, next)
      const middle = Math.floor(object.size / 2)
      if (fault?.do === 'flip' && at <= middle && middle < next) {
        bytes = Buffer.from(bytes)
        bytes.writeUInt8(bytes.readUInt8(middle - at) ^ 1, middle - at)
      }
      if (fault?.do === 'drip') await drip(socket, bytes, request)
      else await write(socket, bytes, request)
      if (fault?.do === 'pace') await pace.sent(bytes.byteLength, fault.bytesPerSecond)
      at = next
    }
  }
  await sendUntil(Math.min(end, Math.max(start, place)))
  if (at === end && place >= end) return true
  if (fault?.do === 'cut') {
    await sleep(20) // what was sent has arrived: a reset takes back what is still on its way
    if (fault.by === 'RST') socket.resetAndDestroy()
    else socket.end()
    return false
  }
  if (fault?.do !== 'hold') return await staySilent(socket)
  await released.promise
  await sendUntil(end)
  return true
}

function byteOf(place: Place, size: number): number {
  return 'byte' in place ? (place.byte < 0 ? size + place.byte : place.byte) : Math.floor(size * place.part)
}

/** A token for whoever asks, and the object itself for whoever was sent here. */
async function answerAsForeign(socket: Socket, request: Incoming): Promise<boolean> {
  if (request.path.startsWith('/token')) return await reply(socket, request, 200, {}, '{"token":"foreign-token"}')
  return await answerRightly(socket, request)
}

function add(repository: string, kind: Kind, object: StoredObject, tag?: string): string {
  for (const reference of [object.digest, tag]) {
    if (reference !== undefined) objects.set(`/v2/${repository}/${kind}/${reference}`, object)
  }
  return object.digest
}

async function obey(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'add-blob':
      return add(
        command.repository,
        'blobs',
        blobOf(command.size, command.seed === undefined ? undefined : Buffer.from(command.seed, 'hex')),
      )
    case 'add-archive': {
      const archive = archiveOf(command.name, command.size)
      return { digest: add(command.repository, 'blobs', archive), size: archive.size }
    }
    case 'add-text':
      return add(command.repository, 'blobs', wholeOf(Buffer.from(command.text)))
    case 'add-manifest':
      return add(command.repository, 'manifests', documentOf(command.text), command.tag)
    case 'add-huge-manifest': {
      const part = { digest: `sha256:${'0'.repeat(64)}`, size: 2 }
      return add(command.repository, 'manifests', documentOf(manifestOf(part, [], command.size)), command.tag)
    }
    case 'rules':
      rules = command.rules.map((rule) => ({ rule, left: rule.times ?? Infinity }))
      released = Promise.withResolvers()
      return undefined
    case 'asked':
      return log.filter(({ path }) => path.includes(command.path))
    case 'forget':
      log = []
      return undefined
    case 'release':
      released.resolve()
      return undefined
    case 'down':
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
      return undefined
    case 'up':
      await listenOn(server, '127.0.0.1', port)
      return undefined
    case 'foreign':
      return received
  }
}

process.on('message', (message: { id: number; command: Command }) => {
  void obey(message.command).then(
    (value) => process.send?.({ id: message.id, value }),
    (error: unknown) => process.send?.({ id: message.id, error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
process.send?.({ id: 0, value: port })

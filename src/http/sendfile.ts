// sendfile(2) of Linux, which Node has no call for: the system sends a file's bytes without copying them to us and back.
import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { LibraryHandle } from 'koffi'
import pLimit, { type LimitFunction } from 'p-limit'
import type { SendableFile } from '../bytes/stream.ts'
import type { Logger } from '../telemetry/logger.ts'

/** Of fcntl(2). */
const duplicateAndCloseOnExec = 1030

/** Of memfd_create(2). `neverExecuted` is known since Linux 6.3, which can be told to insist on it. */
const memoryFile = { closeOnExec: 1, neverExecuted: 8 }

/** Bytes of a body from which on the system is asked to send them by itself: for fewer, asking costs what it saves. */
export const sentBySystem: number = 256 * 1024

/** Threads of Node's pool, which main.ts makes larger. */
const threads: number = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4) || 4

/** Calls at once; the other threads are left to those who open files. koffi allows for 256. */
const atOnce: number = Math.min(Math.max(1, Math.floor(threads * 0.75)), 64)

/** A connection past which nothing else is written while it is in use. */
export interface Connection extends Disposable {
  /**
   * Sends bytes of an open file, in one of Node's threads where a disk may be waited for, and otherwise before it returns.
   * Resolves with how many: 0 also where it failed, be it that nothing more can be taken now, or that the file cannot be sent so.
   */
  send(file: SendableFile, position: number, length: number): Promise<number>
}

export interface Sendfile {
  /** `undefined` where the socket has no descriptor. Not for one that encrypts. */
  connect(socket: Socket): Connection | undefined
  /** The descriptor of an empty file in memory, the caller's to close. @throws where the system makes none */
  createMemoryFile(): number
}

/** Of the C library. */
interface Calls {
  /** A descriptor of its own for what `fd` refers to; -1 where there is none. */
  readonly duplicate: (fd: number) => number
  readonly send: (to: number, from: number, position: number, length: number) => Promise<number>
  /** As `send`, before it returns. */
  readonly sendNow: (to: number, from: number, position: number, length: number) => number
  /** A descriptor; -1 where the system makes no file with these flags. */
  readonly createMemoryFile: (flags: number) => number
}

/** Loaded when the first large answer has left: who sends none does without its memory, and nobody waits for it. */
export class LateSendfile {
  readonly #logger: Logger
  #isAsked = false
  #loaded: Sendfile | undefined

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** `undefined`: not loaded yet, or it cannot be. */
  get loaded(): Sendfile | undefined {
    return this.#loaded
  }

  load(): void {
    if (this.#isAsked) return
    this.#isAsked = true
    void this.#load()
  }

  async #load(): Promise<void> {
    try {
      this.#loaded = await loadSendfile()
    } catch (error) {
      this.#logger.info({ error }, 'files are sent without sendfile')
    }
  }
}

/** @throws where the system has no such call, or there is no way to it on this processor */
export async function loadSendfile(): Promise<Sendfile> {
  const calls = await loadCalls()
  const limit = pLimit(atOnce)
  return {
    connect: (socket) => {
      if (descriptorOf(socket) === undefined) return undefined
      return new SocketConnection(socket, calls, limit)
    },
    createMemoryFile: () => {
      const { closeOnExec, neverExecuted } = memoryFile
      const found = calls.createMemoryFile(closeOnExec | neverExecuted)
      const fd = found === -1 ? calls.createMemoryFile(closeOnExec) : found
      if (fd === -1) throw new Error('the system makes no file in memory')
      return fd
    },
  }
}

async function loadCalls(): Promise<Calls> {
  if (process.platform !== 'linux') throw new Error('sendfile is asked of Linux only')
  const { default: koffi } = await import('koffi')
  const library = koffi.load(null)
  const memfd = library.func('int memfd_create(const char *name, unsigned int flags)')
  const fcntl = library.func('int fcntl(int fd, int command, ...)')
  const parameters = '(int to, int from, _In_ int64_t *position, size_t length)'
  const sendfile = hasFunction(library, 'sendfile64')
    ? library.func(`int64_t sendfile64${parameters}`)
    : library.func(`int64_t sendfile${parameters}`) // of musl, where every position has 64 bits
  return {
    duplicate: (fd) => Number(fcntl(fd, duplicateAndCloseOnExec, 'int', 0)),
    createMemoryFile: (flags) => Number(memfd('entrepot', flags)),
    sendNow: (to, from, position, length) => Number(sendfile(to, from, [position], length)),
    send: async (to, from, position, length) => {
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      // In an array, which is copied for the call: memory of ours could be collected while it runs, and would be written to.
      sendfile.async(to, from, [position], length, (error: unknown, count: number) => {
        if (error === null) resolve(count)
        else reject(error)
      })
      return await promise
    },
  }
}

function hasFunction(library: LibraryHandle, name: string): boolean {
  try {
    library.symbol(name)
    return true
  } catch {
    return false
  }
}

class SocketConnection implements Connection {
  readonly #socket: Socket
  readonly #calls: Calls
  readonly #limit: LimitFunction
  /**
   * A descriptor of its own, once it is needed: that of the socket may be closed, and then be another connection's, while a
   * call in one of Node's threads is still to use it.
   */
  #own: number | undefined

  constructor(socket: Socket, calls: Calls, limit: LimitFunction) {
    this.#socket = socket
    this.#calls = calls
    this.#limit = limit
  }

  async send({ fd: from, isInMemory }: SendableFile, position: number, length: number): Promise<number> {
    const calls = this.#calls
    const to = isInMemory ? descriptorOf(this.#socket) : this.#ownDescriptor()
    if (to === undefined) return 0
    if (isInMemory) return Math.max(0, calls.sendNow(to, from, position, length))
    return Math.max(0, await this.#limit(async () => await calls.send(to, from, position, length)))
  }

  [Symbol.dispose](): void {
    if (this.#own !== undefined) closeSync(this.#own) // no wait: the socket, or who closed it, has seen to what was sent
  }

  /** `undefined` where there is none left for us. */
  #ownDescriptor(): number | undefined {
    if (this.#own !== undefined) return this.#own
    const fd = descriptorOf(this.#socket)
    const own = fd === undefined ? -1 : this.#calls.duplicate(fd)
    if (own === -1) return undefined
    this.#own = own
    return own
  }
}

/** Node tells it of no socket in its documentation; it is there since the first version. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}

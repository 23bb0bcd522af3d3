// A client that costs next to nothing, for tests with hundreds of them in one process: one GET on a bare socket.
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { deferred } from '../../src/async/deferred.ts'
import type { Pulled } from './client.ts'

export interface LightPull {
  /** Resolves when a byte of the body has come. */
  readonly firstByte: Promise<void>
  readonly done: Promise<Pick<Pulled, 'status' | 'size' | 'digest' | 'complete'>>
}

/** One buffer for all sockets: a read is over before the next begins. */
const buffer = Buffer.allocUnsafe(256 * 1024)

export function lightPull(url: string): LightPull {
  const { hostname, port, pathname } = new URL(url)
  const firstByte = deferred()
  const done = deferred<Awaited<LightPull['done']>>()
  const hash = createHash('sha256')
  let head = ''
  let isHead = true
  let size = 0
  const onBody = (bytes: Uint8Array): void => {
    if (bytes.byteLength === 0) return
    firstByte.resolve()
    hash.update(bytes)
    size += bytes.byteLength
  }
  const onRead = (length: number): boolean => {
    const bytes = buffer.subarray(0, length)
    if (!isHead) onBody(bytes)
    else {
      head += bytes.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      isHead = end < 0
      if (!isHead) onBody(Buffer.from(head.slice(end + 4), 'latin1'))
    }
    return true
  }
  const socket = connect({ host: hostname, port: Number(port), onread: { buffer, callback: onRead } })
  socket.write(`GET ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n\r\n`)
  socket.on('error', () => {}) // the connection was cut; what came is compared below
  socket.on('close', () => {
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0)
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? -1)
    firstByte.reject(new Error('no byte came'))
    done.resolve({ status, size, digest: `sha256:${hash.digest('hex')}`, complete: size === length })
  })
  return { firstByte: firstByte.promise, done: done.promise }
}

// What can be looked at, beside our own storage: a file, a web server, a port. A check that fails throws.
import { stat } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'

/** @throws why it is not well; the signal's reason */
export type Look = (signal: AbortSignal) => Promise<void>

export interface HttpTarget {
  readonly url: URL
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** Expected. */
  readonly status: number
}

/** Fails while the file is there: whoever operates us makes it, to have traffic led elsewhere. */
export function fileIsAbsent(path: string): Look {
  return async () => {
    try {
      await stat(path)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
      throw error
    }
    throw new Error('file exists')
  }
}

/** Asks by HEAD; redirects are not followed. */
export function serverAnswers({ url, headers, status }: HttpTarget): Look {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const lines = Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, [...values]]))
  return async (signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const outgoing = send(url, { method: 'HEAD', agent: false, headers: lines, signal })
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    outgoing.end()
    const got = await promise
    if (got !== status) throw new Error(`answered ${got}, expected ${status}`)
  }
}

export function portAnswers({ host, port }: { readonly host: string; readonly port: number }): Look {
  return async (signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const socket = connect({ host, port, signal })
    socket.on('error', reject)
    socket.on('connect', resolve)
    try {
      await promise
    } finally {
      socket.destroy()
    }
  }
}

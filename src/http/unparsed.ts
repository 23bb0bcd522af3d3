// What Node's parser makes no request of. Node would answer it past the log, and before the answers of those that came before.
import type { Server } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Logger } from '../telemetry/logger.ts'
import { answerHead } from './answer-head.ts'
import { discarded } from './discard.ts'
import type { Reply, Request } from './exchange.ts'
import { plainAddress } from './forwarded.ts'
import type { InTurn } from './in-turn.ts'
import { logRequest } from './request-log.ts'
import { bytesAtOnce } from './send.ts'

/** Malformed; too late; with a head that is too long. */
export type UnparsedStatus = 400 | 408 | 431

/** What is said to whoever sent it; the body is there whole. */
export type RefuseUnparsed = (request: Pick<Request, 'log'>, status: UnparsedStatus) => Reply

export interface UnparsedOptions {
  readonly logger: Logger
  readonly refuse: RefuseUnparsed
  readonly inTurn: InTurn
}

export function answerUnparsed(server: Server | SecureServer, options: UnparsedOptions): void {
  const seen = new WeakSet<Socket>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (seen.has(socket)) return // the parser says it of each end, too
    const status = statusOf(error)
    const isGone = error.code === 'HPE_INVALID_EOF_STATE' && options.inTurn.findPartial(socket) !== undefined
    if (status === undefined || isGone) {
      socket.destroy(error)
      return
    }
    seen.add(socket)
    readAway(socket)
    options.inTurn.enterLast(socket, () => refuse(socket, status, error, options))
  })
}

/** `undefined` of a connection that has failed, or is none with TLS: nobody would read an answer. */
function statusOf({ code }: NodeJS.ErrnoException): UnparsedStatus | undefined {
  if (code === 'HPE_HEADER_OVERFLOW') return 431
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408
  return code?.startsWith('HPE_') === true ? 400 : undefined
}

/** In the place of the parser, which makes nothing of it any more, or after a 408 would make a request of it. */
function readAway(socket: Socket): void {
  let left = discarded.bytes
  socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
    left -= chunk.byteLength
    if (left <= 0) socket.destroy()
  })
}

function refuse(
  socket: Socket,
  status: UnparsedStatus,
  { code }: NodeJS.ErrnoException,
  { refuse: replyTo, logger }: UnparsedOptions,
): void {
  if (!socket.writable) return // the answer before was the last one
  const log: Record<string, unknown> = { refused: code }
  const reply = replyTo({ log }, status)
  const body = bytesAtOnce(reply) ?? Buffer.alloc(0)
  const client = plainAddress(socket.remoteAddress ?? '')
  const { headers } = reply
  const head = answerHead({ status, headers, length: body.byteLength, connection: ['Connection: close'] })
  socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]))
  // Until its client closes it, too: who is cut while he sends never sees why.
  const deadline = setTimeout(() => socket.destroy(), discarded.ms)
  socket.once('close', () => clearTimeout(deadline))
  logRequest(logger, { ...log, status, bytes: body.byteLength, client }, status, undefined)
}

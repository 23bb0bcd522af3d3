// How many connections there may be: those beyond are closed as they come, and idle ones make room for the next.
import type { Server } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import type { Logger } from '../telemetry/logger.ts'

/** Milliseconds. */
const betweenReliefs = 1000
const betweenLines = 60_000

/** `closeIdle`: closes those that nothing is answered by. */
export function limitConnections(
  server: Server | SecureServer,
  most: number,
  logger: Logger,
  closeIdle: () => void,
): void {
  server.maxConnections = most
  let relieved = -Infinity
  let said = -Infinity
  server.on('drop', () => {
    const now = performance.now()
    if (now - relieved >= betweenReliefs) {
      relieved = now
      closeIdle()
    }
    if (now - said < betweenLines) return
    said = now
    logger.warn({ connections: most }, 'too many connections: those beyond are closed')
  })
}

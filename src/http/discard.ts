// What a refused client still sends is read away: who is cut while he sends never sees why.
import type { IncomingMessage } from 'node:http'

/** What is still read. */
export const discarded: { readonly bytes: number; readonly ms: number } = { bytes: 16 * 1024 * 1024, ms: 5000 }

/** Whether the body is not known to be more. */
export function canDiscard({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length'] ?? 0) <= discarded.bytes
}

/** Resolves when the body has ended. Who sends more, or for longer, is cut. */
export async function discardBody(incoming: IncomingMessage): Promise<void> {
  if (incoming.complete || incoming.destroyed) return
  let left = discarded.bytes
  const { promise, resolve } = Promise.withResolvers<void>()
  const deadline = setTimeout(() => incoming.destroy(), discarded.ms)
  const onData = (chunk: Uint8Array): void => {
    left -= chunk.byteLength
    if (left >= 0) return
    incoming.off('data', onData)
    incoming.socket.destroySoon() // its end is said first: some take a reset for no answer
  }
  incoming.on('data', onData).once('end', resolve).once('close', resolve)
  await promise
  clearTimeout(deadline)
}

// What a refused client still sends: who is cut while he sends never sees why.
import type { IncomingMessage } from 'node:http'

/** What is still read. */
export const discarded: { readonly bytes: number; readonly ms: number } = { bytes: 16 * 1024 * 1024, ms: 5000 }

/** Whether the body is read to its end now. */
export async function discardBody(incoming: IncomingMessage): Promise<boolean> {
  if (incoming.readableEnded || incoming.complete) return true
  let left = discarded.bytes
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const deadline = setTimeout(resolve, discarded.ms, false)
  const onData = (chunk: Uint8Array): void => {
    left -= chunk.byteLength
    if (left <= 0) resolve(false)
  }
  incoming
    .on('data', onData)
    .once('end', () => resolve(true))
    .once('close', () => resolve(true))
  try {
    return await promise
  } finally {
    clearTimeout(deadline)
    incoming.off('data', onData).pause()
  }
}

// A client that sends bytes, whether they are HTTP or not.
import { connect } from 'node:net'

/** Sends them in one go, and waits until the other side has closed the connection: what it said, also where it cut it. */
export async function saidTo(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => {}) // it may be cut
  let said = ''
  socket.on('data', (chunk: Buffer) => {
    said += chunk.toString('latin1')
  })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(Buffer.from(bytes, 'latin1'))
  await closed
  return said
}

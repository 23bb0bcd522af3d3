// The file of a unix socket outlives the process that listened on it, and must not keep the next one from listening.
import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'

/** Takes away a socket that nobody listens on any more. All else at `path` stays, and is listening's to complain of. */
export async function removeDeadSocket(path: string): Promise<void> {
  if (await isDead(path)) await unlink(path)
}

async function isDead(path: string): Promise<boolean> {
  try {
    if (!(await lstat(path)).isSocket()) return false
  } catch {
    return false // as a rule it is not there
  }
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'
  } finally {
    socket.destroy()
  }
}

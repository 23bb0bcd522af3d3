// Who a temporary file belongs to: a name of this process that no other one has, and whether the process of a name is
// surely dead.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** One machine, or container: process ids mean nothing elsewhere. */
const machine: string = createHash('sha256').update(`${hostname()} ${processes()}`).digest('hex').slice(0, 12)

const startedAt: string = Math.round(Date.now() - performance.now()).toString(36)

/** `<machine>-<process id>-<start>`: fit for a file's name. */
export const owner: string = `${machine}-${process.pid}-${startedAt}`

/** Of another machine nothing is known, and what runs under a dead process's id today counts as that process. */
export function isDead(other: string): boolean {
  const [where, pid, when] = other.split('-')
  if (where !== machine || pid === undefined || !/^\d{1,10}$/.test(pid)) return false
  if (Number(pid) === process.pid) return when !== startedAt
  try {
    process.kill(Number(pid), 0)
    return isZombie(pid)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}

/** Killed, and its parent has not asked for its end yet. As long as one of its threads runs, that one may still write. */
function isZombie(pid: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const state = stat.slice(stat.lastIndexOf(')') + 1).trimStart() // the name before it may hold anything
    return state.startsWith('Z') && readdirSync(`/proc/${pid}/task`).length === 1
  } catch {
    return false // no Linux, or gone just now: the next look will tell
  }
}

/** Machines and containers may have one host name between them, and each its own process 1. */
function processes(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8') + readlinkSync('/proc/self/ns/pid')
  } catch {
    return '' // no Linux
  }
}

// What Linux says about a process. Elsewhere nothing is known of it, and the rows say so.
import { readdir, readFile, writeFile } from 'node:fs/promises'

export interface Memory {
  /** RSS, in bytes. */
  readonly now: number
  /** The highest it has been, since the start or since `resetPeak`. */
  readonly peak: number
}

export async function memoryOf(pid: number): Promise<Memory> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  const of = (name: string): number => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? NaN)
  return { now: of('VmRSS'), peak: of('VmHWM') }
}

export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}

export async function openFiles(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length
}

/** CPU time that a process and all below it have used, in seconds. */
export async function cpuOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // from the third on: proc_pid_stat(5)
  const own = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter((id) => id !== '')
  const theirs = await Promise.all(children.map(async (id) => await cpuOf(Number(id))))
  return theirs.reduce((sum, seconds) => sum + seconds, own)
}

/**
 * How often TCP on this machine has sent something again since its start because no acknowledgement came in time: each
 * makes a transfer stand still for a fifth of a second or more.
 */
export async function tcpTimeouts(): Promise<number> {
  return counterOf(await readFile('/proc/net/netstat', 'utf8'), 'TcpExt', 'TCPTimeouts')
}

/** Pairs of lines: the first names what the second counts. */
export function counterOf(text: string, kind: string, name: string): number {
  const [names = [], counts = []] = text
    .split('\n')
    .filter((line) => line.startsWith(`${kind}: `))
    .map((line) => line.split(' '))
  const at = names.indexOf(name)
  return at < 0 ? NaN : Number(counts[at])
}

// A command of the command line, in this process.
import { Writable } from 'node:stream'
import { run } from '../../src/cli/run.ts'

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export async function command(args: readonly string[], isTerminal = false): Promise<Ran> {
  const written = { stdout: '', stderr: '' }
  const into = (stream: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        written[stream] += String(chunk)
        done()
      },
    })
  const stderr = Object.assign(into('stderr'), { isTTY: isTerminal })
  const [{ signal }, { signal: failed }] = [new AbortController(), new AbortController()]
  const code = await run(args, { stdout: into('stdout'), stderr, env: {}, cwd: '/', signal, failed })
  return { code, ...written }
}

// A server in this process that is asked to end as soon as its log says what is waited for.
import { Writable } from 'node:stream'
import { run } from '../../src/cli/run.ts'

/** Resolves with its exit code, and with all that it has logged. `stop` ends it before. */
export async function serveUntil(
  said: string,
  config: string,
  { stop = new AbortController(), hangUp }: { stop?: AbortController; hangUp?: EventTarget } = {},
): Promise<{ readonly code: number; readonly log: string }> {
  let log = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      log += String(chunk)
      if (log.includes(said)) stop.abort('SIGTERM')
      done()
    },
  })
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() })
  const failed = new AbortController().signal
  const code = await run(['serve', config], { stdout, stderr, env: {}, cwd: '/', signal: stop.signal, failed, hangUp })
  return { code, log }
}

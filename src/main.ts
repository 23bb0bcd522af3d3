#!/usr/bin/env node
// argv → command. The only place that ends the process.
import { enableCompileCache } from 'node:module'

process.env['UV_THREADPOOL_SIZE'] ??= '16' // before the pool of threads starts: four are soon taken by a slow disk
enableCompileCache() // half of the time to start is spent on compiling what has not changed
const { run } = await import('./cli/run.ts')

// A log that cannot be written any more, to a pipe that closed or a full disk, is no reason to stop serving (P9).
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

const stop = new AbortController()
const onSignal = (name: NodeJS.Signals): void => {
  if (stop.signal.aborted) process.exit(1) // asked twice: now
  stop.abort(name)
}
process.on('SIGTERM', onSignal)
process.on('SIGINT', onSignal)

const code = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  signal: stop.signal,
})
process.exit(code)

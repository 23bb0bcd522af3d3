#!/usr/bin/env node
// argv → command. The only place that ends the process.
import { enableCompileCache } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'

process.env['UV_THREADPOOL_SIZE'] ??= '16' // before the pool of threads starts: four are soon taken by a slow disk
setFlagsFromString('--heap-growing-percent=100') // a thousand streams stay small; what they leave is seen to when idle
enableCompileCache() // half of the time to start is spent on compiling what has not changed
const { run } = await import('./cli/run.ts')
const { SignalEcho } = await import('./cli/signal-echo.ts')

// A log that cannot be written any more, to a pipe that closed or a full disk, is no reason to stop serving (P9).
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

const stop = new AbortController()
const signals = new SignalEcho()
const onSignal = (name: NodeJS.Signals): void => {
  if (signals.repeats(name)) return
  if (stop.signal.aborted) process.exit(1) // asked twice: now
  stop.abort(name)
}
process.on('SIGTERM', onSignal)
process.on('SIGINT', onSignal)

// A terminal that closes says so by the same signal as an operator who has changed the configuration. It also ends what
// has no configuration to read again.
const hangUp = new EventTarget()
process.on('SIGHUP', (name) => {
  const isForNobody = process.stdout.isTTY || hangUp.dispatchEvent(new Event('reload', { cancelable: true }))
  if (isForNobody) onSignal(name)
})

// What nobody has caught, a rejected promise too, leaves us in a state that nobody knows: said, ended in order, and gone.
const failed = new AbortController()
process.on('uncaughtException', (error) => {
  failed.abort(error)
  stop.abort('failure')
})

/** What a pipe has not taken yet, the end of the process would cut; a reader that takes nothing is not waited for. */
async function writtenOut(): Promise<void> {
  if (process.stdout.writableLength === 0) return
  const written = new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  await Promise.race([written, delay(1000)])
}

try {
  const code = await run(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    signal: stop.signal,
    hangUp,
    failed: failed.signal,
  })
  await writtenOut()
  process.exit(failed.signal.aborted ? 1 : code)
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`)
  process.exit(1)
}

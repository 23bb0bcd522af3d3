// `entrepot serve [CONFIG]`: runs the registry until the process is asked to end.
import { once } from 'node:events'
import { startApp, version, type App } from '../app.ts'
import { ConfigError } from '../config/config-error.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/config.ts'
import { BatchedLines } from '../telemetry/batched-lines.ts'
import { openLogger, type AdjustableLogger, type Logger } from '../telemetry/logger.ts'
import type { LogMail } from '../telemetry/log-mail.ts'
import { banner } from './banner.ts'
import { giveBackWhenIdle } from './idle-memory.ts'
import type { Io } from './io.ts'
import type { ReloadRequests } from './reload-requests.ts'

export async function serve(path: string | undefined, io: Io, asked: ReloadRequests): Promise<number> {
  try {
    const { config, warnings } = loadConfig({ path, env: io.env, cwd: io.cwd })
    const { level, format, fields, hooks } = config.log
    const text = io.stdout.isTTY === true ? 'text' : 'json'
    using lines = new BatchedLines(io.stdout)
    const shown = format ?? text
    const sayUnsent = (error: unknown): void => logger.warn({ error }, 'mail about the log cannot be sent')
    await using mail = await openMail(hooks, sayUnsent)
    const onLine = mail && ((line: string): void => mail.take(line))
    const logger = await openLogger(shown, {
      level,
      fields,
      destination: shown === 'json' ? lines : io.stdout,
      onLine,
    })
    sayFailure(io.failed, logger)
    for (const warning of warnings) logger.warn({ warning }, 'configuration')
    await using app = await startApp(config, logger)
    io.stderr.write(banner({ version, config, url: app.url }))
    asked.serve(() => readAgain(path, io, app, logger))
    logger.info({ url: app.url, version }, 'listening')
    lines.flush() // whoever started us waits for that line
    const [code] = await Promise.all([
      runUntilStopped(app, config, logger, io.signal),
      tellStored(app, logger, io.signal),
    ])
    return code
  } catch (error) {
    const line = startFailure(error)
    if (line === undefined) throw error
    io.stderr.write(`${line}\n`)
    return 1
  }
}

async function openMail(
  hooks: Config['log']['hooks'],
  onFailure: (error: unknown) => void,
): Promise<LogMail | undefined> {
  if (hooks.length === 0) return undefined
  const { openLogMail } = await import('../telemetry/log-mail.ts')
  return openLogMail(hooks, { onFailure })
}

async function runUntilStopped(app: App, config: Config, logger: Logger, signal: AbortSignal): Promise<number> {
  using _ = giveBackWhenIdle(logger)
  if (!signal.aborted) await once(signal, 'abort')
  logger.info({ signal: String(signal.reason), draintimeout: config.http.drainTimeout }, 'draining')
  const cut = await app.close()
  if (cut > 0) logger.warn({ requests: cut }, 'requests cut at the end of the drain time')
  logger.info('stopped')
  return 0
}

/** Nobody waits for it: it takes a walk. */
async function tellStored(app: App, logger: Logger, signal: AbortSignal): Promise<void> {
  try {
    if (!signal.aborted) logger.info({ stored: await app.summary(signal) }, 'storage looked at')
  } catch (error) {
    if (!signal.aborted) logger.warn({ error }, 'storage cannot be looked at')
  }
}

/** A configuration that is wrong changes nothing. */
function readAgain(path: string | undefined, io: Io, app: App, logger: AdjustableLogger): void {
  try {
    const { config, warnings } = loadConfig({ path, env: io.env, cwd: io.cwd })
    const restart = app.reload(config)
    logger.level = config.log.level
    for (const warning of warnings) logger.warn({ warning }, 'configuration')
    if (restart.length > 0) logger.warn({ sections: restart }, 'what has changed there waits for a restart')
    logger.info('configuration read again')
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    logger.error({ reason: error.message }, 'configuration is wrong: the old one stays')
  }
}

function sayFailure(failed: AbortSignal, logger: Logger): void {
  const say = (): void => logger.error({ error: failed.reason }, 'unexpected failure: the server ends')
  if (failed.aborted) say()
  else failed.addEventListener('abort', say)
}

/** One readable line for what a person can mend; anything else is ours. */
function startFailure(error: unknown): string | undefined {
  if (error instanceof ConfigError) return `configuration error: ${error.message}`
  if (error instanceof Error && 'syscall' in error && /^(?:listen|getaddrinfo)$/.test(String(error.syscall))) {
    return `cannot listen: ${error.message}`
  }
  return undefined
}

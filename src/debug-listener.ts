// What whoever operates the server is told, at an address of their own. Beside app.ts, and loaded where it is asked for.
import type { Config } from './config/config.ts'
import { PathNotFoundError, type StorageDriver } from './drivers/driver.ts'
import { fileIsAbsent, portAnswers, serverAnswers, type Look } from './health/checks.ts'
import { debugEndpoints } from './health/endpoints.ts'
import { Readiness } from './health/readiness.ts'
import { Watch, type Check } from './health/watch.ts'
import { listen } from './http/listener.ts'
import type { Instruments } from './instruments.ts'
import type { LocalStore } from './storage/registry.ts'
import { quieter, type Logger } from './telemetry/logger.ts'

/** Milliseconds until storage that does not answer is not ready, and for which an answer is given again. */
const storageTimeout = 5000
const readinessLifetime = 3000

export interface DebugListener {
  /** `http://host:port` */
  readonly url: string
  /** Says from now on that nothing more is to be sent here. */
  drain(): void
}

/** What `health` asks for, whether or not there is a listener to tell it: the log tells it too. */
function watchHealth({ health }: Config, driver: StorageDriver, logger: Logger): Watch {
  const checks: Check[] = []
  if (health.storage !== undefined) {
    checks.push({
      name: `storagedriver_${driver.name}`,
      look: storageAnswers(driver),
      timeout: storageTimeout,
      ...health.storage,
    })
  }
  for (const { path, interval, threshold } of health.files) {
    checks.push({ name: path, look: fileIsAbsent(path), timeout: storageTimeout, interval, threshold })
  }
  for (const { interval, threshold, timeout, ...target } of health.http) {
    checks.push({
      name: `${target.url.origin}${target.url.pathname}`,
      look: serverAnswers(target),
      timeout,
      interval,
      threshold,
    })
  }
  for (const { interval, threshold, timeout, ...target } of health.tcp) {
    checks.push({ name: `${target.host}:${target.port}`, look: portAnswers(target), timeout, interval, threshold })
  }
  return new Watch(checks, logger)
}

/** As distribution has it: a root that is not made yet is well. */
function storageAnswers(driver: StorageDriver): Look {
  return async () => {
    try {
      await driver.stat('/')
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error
    }
  }
}

export interface DebugParts {
  readonly driver: StorageDriver
  readonly store: LocalStore
  readonly instruments: Instruments
}

/** Looks after what `health` names, and listens where `http.debug` says. @throws Node's listen error */
export async function openDebugListener(
  config: Config,
  { driver, store, instruments }: DebugParts,
  opening: AsyncDisposableStack,
  logger: Logger,
): Promise<DebugListener | undefined> {
  const { http, storage } = config
  const watch = opening.use(watchHealth(config, driver, logger))
  if (http.debug === undefined) return undefined
  const { host, port } = http.debug
  const readiness = opening.use(
    new Readiness({
      look: async (signal) => await store.probe({ isReadOnly: storage.readOnly, signal }),
      timeout: storageTimeout,
      lifetime: readinessLifetime,
      logger,
    }),
  )
  const handler = debugEndpoints({ watch, readiness, pages: instruments.pages })
  const listener = opening.use(await listen(handler, { host, port, logger: quieter(logger) }))
  logger.info({ url: listener.url }, 'debug listener is open')
  return { url: listener.url, drain: () => readiness.drain() }
}

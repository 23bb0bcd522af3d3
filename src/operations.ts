// What operators see of the server: health, metrics and traces. Wired here for app.ts.
import type { Config } from './config/config.ts'
import { PathNotFoundError, type StorageDriver } from './drivers/driver.ts'
import { TimedDriver } from './drivers/timed.ts'
import { fileIsAbsent, portAnswers, serverAnswers, type Look } from './health/checks.ts'
import { debugEndpoints } from './health/endpoints.ts'
import { Readiness } from './health/readiness.ts'
import { Watch, type Check } from './health/watch.ts'
import type { Handler } from './http/exchange.ts'
import { listen, type ExchangeObserver } from './http/listener.ts'
import type { Sources } from './metrics/readings.ts'
import type { RequestTracer } from './registry/request-tracer.ts'
import type { LocalStore } from './storage/registry.ts'
import { quieter, type Logger } from './telemetry/logger.ts'
import type { Tracing } from './tracing/tracing.ts'

/** Milliseconds until storage that does not answer is not ready, and for which an answer is given again. */
const storageTimeout = 5000
const readinessLifetime = 3000

/** What measures the server, where it is asked to. */
export interface Instruments {
  /** The driver, with its calls timed. */
  measured(driver: StorageDriver): StorageDriver
  readonly observer: ExchangeObserver | undefined
  /** The handler, in whose running what upstreams are asked belongs to the request. */
  around(handler: Handler): Handler
  /** Who follows what an upstream at `origin` is asked. */
  tracerOf(origin: string): RequestTracer | undefined
  /** What can be read from now on. */
  read(sources: Sources): void
  /** More for the debug listener to show, by path. */
  readonly pages: ReadonlyMap<string, Handler>
}

/** Without `http.debug.prometheus` and traces nothing is loaded and nothing is measured. */
export async function openInstruments(
  config: Config,
  version: string,
  opening: AsyncDisposableStack,
  logger: Logger,
): Promise<Instruments> {
  const path = config.http.debug?.metricsPath
  const metrics = path === undefined ? undefined : new (await import('./metrics/metrics.ts')).Metrics()
  const tracing = await openTracing(config, version, opening, logger)
  return {
    measured: (driver) =>
      metrics === undefined ? driver : new TimedDriver(driver, metrics.storageObserver(driver.name)),
    observer: bothOf(metrics?.requests, tracing),
    around: (handler) => tracing?.around(handler) ?? handler,
    tracerOf: (origin) => tracing?.tracerOf(origin),
    read: (sources) => metrics?.read(sources),
    pages: new Map(path === undefined || metrics === undefined ? [] : [[path, metrics.page]]),
  }
}

async function openTracing(
  { tracing }: Config,
  version: string,
  opening: AsyncDisposableStack,
  logger: Logger,
): Promise<Tracing | undefined> {
  if (tracing === undefined) return undefined
  const room = await import('./tracing/tracing.ts')
  return opening.use(new room.Tracing({ ...tracing, version, logger }))
}

function bothOf(one: ExchangeObserver | undefined, other: ExchangeObserver | undefined): ExchangeObserver | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return {
    begin(request) {
      one.begin(request)
      other.begin(request)
    },
    end(request, outcome) {
      one.end(request, outcome)
      other.end(request, outcome)
    },
  }
}

export interface DebugListener {
  /** `http://host:port` */
  readonly url: string
  /** Says from now on that nothing more is to be sent here. */
  drain(): void
}

/** What `health` asks for, whether or not there is a listener to tell it: the log tells it too. */
export function watchHealth({ health }: Config, driver: StorageDriver, logger: Logger): Watch {
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
    checks.push({ name: target.url.href, look: serverAnswers(target), timeout, interval, threshold })
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
  readonly store: LocalStore
  readonly watch: Watch
  readonly instruments: Instruments
}

/** @throws Node's listen error */
export async function openDebugListener(
  { http, storage }: Config,
  { store, watch, instruments }: DebugParts,
  opening: AsyncDisposableStack,
  logger: Logger,
): Promise<DebugListener | undefined> {
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
  return { url: listener.url, drain: () => readiness.drain() }
}

// What measures the server, where somebody wants it measured. Beside app.ts, which wires it.
import type { Config } from './config/config.ts'
import type { StorageDriver } from './drivers/driver.ts'
import type { Handler } from './http/exchange.ts'
import type { ExchangeObserver } from './http/listener.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { Sources } from './metrics/readings.ts'
import type { RequestTracer } from './registry/request-tracer.ts'
import type { Logger } from './telemetry/logger.ts'
import type { Tracing } from './tracing/tracing.ts'

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
  const measuring = path === undefined ? undefined : await openMetrics()
  const tracing = await openTracing(config, version, opening, logger)
  return {
    measured: (driver) => measuring?.timed(driver) ?? driver,
    observer: bothOf(measuring?.metrics.requests, tracing),
    around: (handler) => tracing?.around(handler) ?? handler,
    tracerOf: (origin) => tracing?.tracerOf(origin),
    read: (sources) => measuring?.metrics.read(sources),
    pages: new Map(path === undefined || measuring === undefined ? [] : [[path, measuring.metrics.page]]),
  }
}

interface Measuring {
  readonly metrics: Metrics
  timed(driver: StorageDriver): StorageDriver
}

async function openMetrics(): Promise<Measuring> {
  const [room, { TimedDriver }] = await Promise.all([import('./metrics/metrics.ts'), import('./drivers/timed.ts')])
  const metrics = new room.Metrics()
  return { metrics, timed: (driver) => new TimedDriver(driver, metrics.storageObserver(driver.name)) }
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

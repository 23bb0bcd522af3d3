// Traces: a span for each request of a client, and one for each request to an upstream below it. The only import of
// OpenTelemetry, and only of a server that is asked for traces. Nothing global is touched: two servers fit in a process.
import { AsyncLocalStorage } from 'node:async_hooks'
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Context, type Span, type Tracer } from '@opentelemetry/api'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type TracerProviderOptions,
} from '@opentelemetry/sdk-trace'
import { ClientGoneError, type Handler, type Request } from '../http/exchange.ts'
import type { ExchangeObserver, ExchangeOutcome } from '../http/listener.ts'
import type { RequestTracer } from '../registry/request-tracer.ts'
import type { Logger } from '../telemetry/logger.ts'
import { formatTraceparent, parseTraceparent } from './context.ts'
import { LoudExporter } from './exporter.ts'

export interface TracingOptions {
  readonly endpoint: URL
  readonly headers: Readonly<Record<string, string>>
  /** What we are called there. */
  readonly service: string
  readonly version: string
  /** What else tells this server from others there. */
  readonly attributes: Readonly<Record<string, string>>
  /** Whether a client's word counts for whether its request is recorded. */
  readonly followsClients: boolean
  /** The part of all others that is recorded, from 0 to 1. */
  readonly ratio: number
  readonly logger: Logger
}

/** Spans that wait to be sent; more are dropped. */
const maxQueue = 2048
const maxBatch = 512

/** Milliseconds. */
const interval = 2000
const timeout = 5000

/** Fields of the log line that a span has too. */
const fields = ['kind', 'repository', 'reference', 'upstream', 'from', 'code'] as const

/** Disposing it sends what is recorded, within a few seconds. */
export class Tracing implements ExchangeObserver, AsyncDisposable {
  readonly #logger: Logger
  readonly #provider: TracerProvider
  readonly #tracer: Tracer
  readonly #current = new AsyncLocalStorage<Context>()
  readonly #spans = new WeakMap<Request, Span>()

  constructor({ service, version, attributes, followsClients, ratio, ...rest }: TracingOptions) {
    this.#logger = rest.logger
    const sampler = new TraceIdRatioBasedSampler(ratio)
    this.#provider = new TracerProvider({
      resource: resourceOf({ ...attributes, 'service.name': service, 'service.version': version }),
      sampler: followsClients ? new ParentBasedSampler({ root: sampler }) : sampler,
      spanLimits: { attributeCountLimit: 32, attributeValueLengthLimit: 300 },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: new LoudExporter({ ...rest, timeout }),
          maxQueueSize: maxQueue,
          maxExportBatchSize: maxBatch,
          scheduledDelayMillis: interval,
          exportTimeoutMillis: timeout,
        }),
      ],
    })
    this.#tracer = this.#provider.getTracer('entrepot', version)
  }

  begin(request: Request): void {
    const parent = parseTraceparent(request.headers['traceparent'])
    const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
    const attributes = { 'http.request.method': request.method, 'url.path': request.path }
    const span = this.#tracer.startSpan(request.method, { kind: SpanKind.SERVER, attributes }, context)
    request.log['trace'] = span.spanContext().traceId
    this.#spans.set(request, span)
  }

  end(request: Request, { status, bytes, failure }: ExchangeOutcome): void {
    const span = this.#spans.get(request)
    if (span === undefined) return
    for (const field of fields) {
      const value = request.log[field]
      if (typeof value === 'string') span.setAttribute(`entrepot.${field}`, value)
    }
    span.setAttributes({ 'http.response.status_code': status, 'http.response.body.size': bytes })
    if (typeof request.log['kind'] === 'string') span.updateName(`${request.method} ${request.log['kind']}`)
    const isOurs = failure !== undefined && !(failure instanceof ClientGoneError)
    if (status >= 500 || isOurs) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  }

  /** The handler, in whose running what upstreams are asked belongs to the request. */
  around(handler: Handler): Handler {
    return async (request) => {
      const span = this.#spans.get(request)
      if (span === undefined) return await handler(request)
      return await this.#current.run(trace.setSpan(ROOT_CONTEXT, span), async () => await handler(request))
    }
  }

  /** Where else than at `origin` a request goes, nobody is told whose it is part of (P8). */
  tracerOf(origin: string): RequestTracer {
    return {
      follow: async ({ method, url }, send) => {
        const isOwn = url.origin === origin
        const attributes = {
          'http.request.method': method,
          'server.address': url.host,
          ...(isOwn ? { 'url.path': url.pathname } : {}), // elsewhere, a path may be as good as a key
        }
        const parent = this.#current.getStore() ?? ROOT_CONTEXT
        const span = this.#tracer.startSpan(`${method} upstream`, { kind: SpanKind.CLIENT, attributes }, parent)
        try {
          const answer = await send(isOwn ? { traceparent: formatTraceparent(span.spanContext()) } : {})
          span.setAttribute('http.response.status_code', answer.status)
          if (answer.status >= 400) span.setStatus({ code: SpanStatusCode.ERROR })
          return answer
        } catch (error) {
          span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : 'failed' })
          throw error
        } finally {
          span.end()
        }
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#provider.shutdown()
    } catch (error) {
      this.#logger.debug({ error }, 'the last traces were not delivered') // that they cannot be was said before
    }
  }
}

/** The package that makes one is not ours to depend on; what is read of it is `attributes`. */
type Resource = NonNullable<TracerProviderOptions['resource']>

function resourceOf(attributes: Record<string, string>): Resource {
  const resource: Resource = {
    attributes,
    asyncAttributesPending: false,
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  }
  return resource
}

// Sends spans, and says in our log when they do not arrive: once, until they do again.
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import type { Logger } from '../telemetry/logger.ts'

export interface ExporterOptions {
  readonly endpoint: URL
  readonly headers: Readonly<Record<string, string>>
  /** Milliseconds for one batch, tries that are repeated included. */
  readonly timeout: number
  readonly logger: Logger
}

export class LoudExporter implements SpanExporter {
  readonly #exporter: OTLPTraceExporter
  readonly #logger: Logger
  #isFailing = false

  constructor({ endpoint, headers, timeout, logger }: ExporterOptions) {
    this.#exporter = new OTLPTraceExporter({
      url: endpoint.href,
      headers: { ...headers },
      timeoutMillis: timeout,
      concurrencyLimit: 2,
    })
    this.#logger = logger
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.#exporter.export(spans, (result) => {
      const isFailing = result.error !== undefined
      if (isFailing && !this.#isFailing) this.#logger.warn({ error: result.error }, 'traces cannot be delivered')
      if (!isFailing && this.#isFailing) this.#logger.info('traces are delivered again')
      this.#isFailing = isFailing
      done(result)
    })
  }

  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush()
  }

  async shutdown(): Promise<void> {
    await this.#exporter.shutdown()
  }
}

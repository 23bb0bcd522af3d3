// A real logger whose lines can be read back.
import { createLogger, type Logger } from '../../src/telemetry/logger.ts'

export interface Recording {
  readonly logger: Logger
  /** Every line, parsed. */
  readonly lines: Record<string, unknown>[]
  /** Every line, as written. */
  readonly text: () => string
}

export function recordingLogger(): Recording {
  const written: string[] = []
  const lines: Record<string, unknown>[] = []
  const destination = {
    write(line: string): void {
      written.push(line)
      lines.push(JSON.parse(line) as Record<string, unknown>)
    },
  }
  return { logger: createLogger({ level: 'debug', format: 'json', destination }), lines, text: () => written.join('') }
}

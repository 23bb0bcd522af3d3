// A real logger whose lines can be read back.
import { createLogger, type Logger } from '../../src/telemetry/logger.ts'

export interface Recording {
  readonly logger: Logger
  /** Every line, parsed. */
  readonly lines: Record<string, unknown>[]
  /** Every line, as written. */
  readonly text: () => string
  /** Resolves when such a line is there, or comes. */
  readonly until: (isWanted: (line: Record<string, unknown>) => boolean) => Promise<void>
}

export function recordingLogger(): Recording {
  const written: string[] = []
  const lines: Record<string, unknown>[] = []
  const waiting = new Set<() => void>()
  const destination = {
    write(line: string): void {
      written.push(line)
      lines.push(JSON.parse(line) as Record<string, unknown>)
      for (const look of waiting) look()
    },
  }
  const until: Recording['until'] = async (isWanted) =>
    await new Promise((resolve) => {
      const look = (): void => {
        if (!lines.some(isWanted)) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })
  const logger = createLogger({ level: 'debug', destination })
  return { logger, lines, text: () => written.join(''), until }
}

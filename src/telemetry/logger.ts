// The only import of pino. A message is a constant phrase; what varies is a field. `error`: someone must act; `warn`: we
// coped; `info`: life and requests; `debug`: decisions.
import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino'
import { BoundedLines } from './batched-lines.ts'
import { finishLine } from './line.ts'

export interface Logger extends Pick<PinoLogger, 'error' | 'warn' | 'info' | 'debug' | 'isLevelEnabled'> {
  /** The same logger, for lines that all carry these fields: they are written out once. Its level is this one's. */
  child(fields: Record<string, unknown>): Logger
}

/** `level` may be changed at any time. */
export type AdjustableLogger = Logger & { level: string }

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

export interface LogOptions {
  readonly level: LogLevel
  /** Fields that every line carries. */
  readonly fields?: Readonly<Record<string, unknown>> | undefined
  /** Where lines go instead of standard output. */
  readonly destination?: DestinationStream | undefined
  /** Given each line too, as JSON, before anything in it is shortened or escaped. */
  readonly onLine?: ((line: string) => void) | undefined
}

/** Fields that hold a secret wherever they appear. Nothing should log one; this is the net below. */
const secretFields: ReadonlySet<string> = new Set([
  'authorization',
  'password',
  'token',
  'access_token',
  'refresh_token',
  'identitytoken',
  'secret',
])

/** `json`: one object a line, for machines. `text`: for a person at a terminal. */
export type LogFormat = 'json' | 'text'

/** Lines of JSON. */
export function createLogger(options: LogOptions): AdjustableLogger {
  return loggerTo(destinationOf(options), 'json', options)
}

/** What writes text is loaded only for it. */
export async function openLogger(format: LogFormat, options: LogOptions): Promise<AdjustableLogger> {
  if (format === 'json') return createLogger(options)
  const { PinoPretty } = await import('pino-pretty')
  const destination = destinationOf(options)
  const pretty = PinoPretty({ colorize: false, destination, singleLine: true })
  return loggerTo(new BoundedLines(pretty), format, options)
}

function destinationOf({ destination }: LogOptions): DestinationStream {
  return destination ?? pino.destination({ dest: 1, sync: true })
}

function loggerTo(target: DestinationStream, format: LogFormat, options: LogOptions): AdjustableLogger {
  const logger = pino(
    {
      level: options.level,
      base: withoutSecrets(options.fields ?? {}),
      timestamp: isoTimes(),
      formatters: { level: (label) => ({ level: label }), log: withoutSecrets },
      serializers: { error: describeError },
      hooks: {
        streamWrite(line) {
          options.onLine?.(line)
          return finishLine(line, format)
        },
      },
    },
    target,
  )
  // No formatter of pino's sees the fields of a child: `log` is for those of one line, and a child drops `bindings`.
  const { child } = logger // oxlint-disable-line typescript/unbound-method -- it is called on whichever logger is asked
  return Object.assign(logger, {
    child(this: PinoLogger, fields: Record<string, unknown>): Logger {
      return child.call(this, withoutSecrets(fields))
    },
  })
}

/** As pino's `isoTime`, but for all lines of a millisecond the time is written out once: a tenth of a busy server's work. */
function isoTimes(): () => string {
  let last = 0
  let text = ''
  return () => {
    const now = Date.now()
    if (now !== last) {
      last = now
      text = `,"time":"${new Date(now).toISOString()}"`
    }
    return text
  }
}

/** Two levels deep, as fields are. Written out because pino's own way costs a third of a request's line. */
function withoutSecrets(fields: Record<string, unknown>): Record<string, unknown> {
  let redacted: Record<string, unknown> | undefined
  for (const name in fields) {
    const value = fields[name]
    const shown = secretFields.has(name) ? '[redacted]' : withoutInner(value)
    if (shown === value) continue
    redacted ??= { ...fields }
    redacted[name] = shown
  }
  return redacted ?? fields
}

function withoutInner(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Error) return value
  const names = Object.keys(value).filter((name) => secretFields.has(name))
  return names.length === 0 ? value : { ...value, ...Object.fromEntries(names.map((name) => [name, '[redacted]'])) }
}

/** The same logger, for what is too frequent to be told, be it well or not: its `info` and `warn` are `debug`. */
export function quieter(logger: Logger): Logger {
  // Each is looked up anew: they are others when the level changes.
  return {
    get error() {
      return logger.error.bind(logger)
    },
    get warn() {
      return logger.debug.bind(logger)
    },
    get info() {
      return logger.debug.bind(logger)
    },
    get debug() {
      return logger.debug.bind(logger)
    },
    isLevelEnabled: (level) => logger.isLevelEnabled(level),
    child: (fields) => quieter(logger.child(fields)),
  }
}

/** For tests, and for code that runs before there is a logger. */
export const silentLogger: Logger = pino({ level: 'silent' })

interface DescribedError {
  type: string
  message: string
  code?: unknown
  stack?: string | undefined
  cause?: DescribedError
}

/** Names of errors that are expected: what matters is what happened, not where in the code. */
const outcomes: ReadonlySet<string> = new Set([
  'UpstreamError',
  'RegistryError',
  'DriverError',
  'PathNotFoundError',
  'UnreadableError',
  'DigestMismatchError',
  'RedisError',
])

/** Also what the system or SQLite says: it has been foreseen, and its stack is that of Node. */
function isOutcome(error: Error): boolean {
  return outcomes.has(error.name) || 'syscall' in error || ('code' in error && error.code === 'ERR_SQLITE_ERROR')
}

/** An error as fields: type, message, code, stack, and its causes, five deep at most. Never fails, whatever was thrown. */
function describeError(error: unknown, depth = 0): DescribedError {
  try {
    return fieldsOf(error, depth)
  } catch {
    return { type: typeof error, message: 'what was thrown cannot be described' }
  }
}

function fieldsOf(error: unknown, depth: number): DescribedError {
  if (!(error instanceof Error)) return { type: typeof error, message: redactUrls(String(error)) }
  const { message, stack }: { readonly message: unknown; readonly stack?: unknown } = error // as libraries make them
  const described: DescribedError = { type: error.name, message: redactUrls(String(message)) }
  if ('code' in error && error.code !== undefined) described.code = error.code
  if (depth === 0 && !isOutcome(error)) described.stack = typeof stack === 'string' ? redactUrls(stack) : undefined
  if (error.cause !== undefined && depth < 5) described.cause = describeError(error.cause, depth + 1)
  return described
}

/** Takes query strings and user names out of the URLs in a text: signed URLs and tokens live there (P8). */
export function redactUrls(text: string): string {
  return text
    .replace(/\b(https?:\/\/)([^\s/]*)@/gi, hideUser)
    .replace(/\b(https?:\/\/[^\s?#"']*)[?#][^\s"']*/gi, '$1')
    .slice(0, 8192)
}

/** Passwords come unencoded, too: they end at the last `@`. With a `?` before it, it may as well be a query that goes on. */
function hideUser(_: string, scheme: string, user: string): string {
  return /[?#]/.test(user) ? `${scheme}?` : scheme
}

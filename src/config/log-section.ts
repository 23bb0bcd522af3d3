// `log`, and its deprecated short form `loglevel`.
import { flag, oneOf } from './leaf.ts'
import { logLevelSchema, type LogLevel } from './log-level.ts'
import { mailHooksSchema, resolveMailHooks, type MailHookConfig, type MailHookInput } from './mail-hook.ts'
import { freeMap, later, section, type ResolveContext, type Schema } from './section.ts'

export interface LogConfig {
  readonly level: LogLevel
  /** `undefined`: not configured; whoever opens the output decides. */
  readonly format: 'json' | 'text' | undefined
  /** Fields that every line carries. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Who gets a mail about which lines. */
  readonly hooks: readonly MailHookConfig[]
}

export interface LogInput {
  readonly level?: LogLevel | undefined
  readonly formatter?: 'text' | 'json' | 'logstash' | undefined
  readonly fields?: Record<string, unknown> | undefined
  readonly hooks?: MailHookInput[] | undefined
}

export const logSchema: Schema<LogInput> = section({
  level: logLevelSchema,
  formatter: oneOf(['text', 'json', 'logstash']),
  fields: freeMap,
  accesslog: section({ disabled: flag }),
  reportcaller: later(flag),
  hooks: mailHooksSchema,
})

export function resolveLog(input: LogInput, loglevel: LogLevel | undefined, context: ResolveContext): LogConfig {
  if (input.formatter === 'logstash') context.warn('log.formatter: logstash is not supported yet; json is used')
  return {
    level: input.level ?? loglevel ?? 'info',
    format: input.formatter === 'logstash' ? 'json' : input.formatter,
    fields: input.fields ?? {},
    hooks: resolveMailHooks(input.hooks ?? [], context),
  }
}

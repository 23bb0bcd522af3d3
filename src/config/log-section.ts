// `log`, and its deprecated short form `loglevel`.
import type { z } from 'zod'
import type { LogConfig } from './config.ts'
import { flag, oneOf } from './leaf.ts'
import { mailHooksSchema, resolveMailHooks, type MailHookInput } from './mail-hook.ts'
import { freeMap, later, section, type ResolveContext } from './section.ts'

export interface LogInput {
  readonly level?: LogConfig['level'] | undefined
  readonly formatter?: 'text' | 'json' | 'logstash' | undefined
  readonly fields?: Record<string, unknown> | undefined
  readonly hooks?: MailHookInput[] | undefined
}

export const logLevelSchema: z.ZodType<LogConfig['level']> = oneOf(['error', 'warn', 'info', 'debug'])

export const logSchema: z.ZodType<LogInput> = section({
  level: logLevelSchema,
  formatter: oneOf(['text', 'json', 'logstash']),
  fields: freeMap,
  accesslog: section({ disabled: flag }),
  reportcaller: later(flag),
  hooks: mailHooksSchema,
})

export function resolveLog(
  input: LogInput,
  loglevel: LogConfig['level'] | undefined,
  context: ResolveContext,
): LogConfig {
  if (input.formatter === 'logstash') context.warn('log.formatter: logstash is not supported yet; json is used')
  return {
    level: input.level ?? loglevel ?? 'info',
    format: input.formatter === 'logstash' ? 'json' : input.formatter,
    fields: input.fields ?? {},
    hooks: resolveMailHooks(input.hooks ?? [], context),
  }
}

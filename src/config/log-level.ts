// How much is logged.
import type { z } from 'zod'
import { oneOf } from './leaf.ts'

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

export const logLevelSchema: z.ZodType<LogLevel> = oneOf(['error', 'warn', 'info', 'debug'])

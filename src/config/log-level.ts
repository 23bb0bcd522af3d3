// How much is logged.
import { oneOf } from './leaf.ts'
import type { Schema } from './section.ts'

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

export const logLevelSchema: Schema<LogLevel> = oneOf(['error', 'warn', 'info', 'debug'])

// Why a command that works on a storage has failed, in one line.
import { ConfigError } from '../config/config-error.ts'
import type { Io } from './io.ts'

/** `stopped`: what to say where a signal ended it. */
export function failureLine(error: unknown, io: Io, command: string, stopped: string): string {
  if (error instanceof ConfigError) return `configuration error: ${error.message}`
  if (io.failed.aborted) return `${command}: ${String(io.failed.reason)}`
  if (io.signal.aborted) return `stopped: ${stopped}`
  return `${command}: ${error instanceof Error ? error.message : String(error)}`
}

// The time for which a collection of garbage leaves alone what was written, as the command line has it.
import { InvalidArgumentError } from 'commander'
import { ConfigError } from '../config/config-error.ts'
import { parseDuration } from '../config/duration.ts'

export const defaultGrace: number = parseDuration('1h')

export function parseGrace(text: string): number {
  try {
    return parseDuration(text)
  } catch (error) {
    if (error instanceof ConfigError) throw new InvalidArgumentError(error.message)
    throw error
  }
}

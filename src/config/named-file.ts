// Files that a configuration names, and that are read when it is.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { ConfigError, reasonOf } from './config-error.ts'
import type { ResolveContext } from './section.ts'

export interface NamedFile {
  /** Whose value the path is. */
  readonly key: string
  /** Absolute. */
  readonly path: string
}

export function resolvePath(path: string, context: ResolveContext): string {
  return resolve(
    context.cwd,
    path.replace(/^~(?=\/|$)/, () => context.home),
  )
}

/** @throws ConfigError in the name of `key` */
export function readText(path: string, key: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`${key}: ${path} cannot be read: ${reasonOf(error)}`, { cause: error })
  }
}

/** @throws ConfigError in the name of `key`, also where there is nothing in the file */
export function readPassword(path: string, key: string): string {
  const password = readText(path, key).replace(/[\r\n]+$/, '')
  if (password === '') throw new ConfigError(`${key}: ${path} is empty, expected a password in it`)
  return password
}

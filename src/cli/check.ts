// `entrepot check CONFIG`: says what is wrong with a configuration, without starting anything.
import { checkFiles } from '../app.ts'
import { ConfigError } from '../config/config-error.ts'
import { loadConfig } from '../config/load.ts'
import type { Io } from './io.ts'

/** Warnings do not fail it: the registry starts with them. */
export async function check(path: string | undefined, io: Io): Promise<number> {
  const name = path ?? 'the default configuration'
  try {
    const { config, warnings } = loadConfig({ path, env: io.env, cwd: io.cwd })
    await checkFiles(config)
    for (const warning of warnings) io.stderr.write(`warning: ${warning}\n`)
    io.stdout.write(`${name} is valid\n`)
    return 0
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    io.stderr.write(`configuration error: ${error.message}\n`)
    return 1
  }
}

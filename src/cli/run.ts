// The command line: arguments → command → exit code. Of the commands, only the one that is run is loaded.
import { Command, CommanderError, Option } from 'commander'
import { version } from '../app.ts'
import { defaultGrace, parseGrace } from './grace.ts'
import type { GarbageCollectOptions } from './garbage-collect.ts'
import type { Io } from './io.ts'
import { ReloadRequests } from './reload-requests.ts'
import type { VerifyCommandOptions } from './verify.ts'

/** Resolves with the exit code: 0 done, 1 the command failed, 2 the arguments are wrong. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  let code = 0
  const program = new Command('entrepot')
    .description('A pull-through caching registry for container images.')
    .version(version, '-v, --version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
    })
  program
    .command('serve', { isDefault: true })
    .argument('[config]', 'a config.yml of entrepot or of distribution; without one, a mirror with its defaults')
    .description('serve the registry')
    .action(async (path: string | undefined) => {
      using asked = new ReloadRequests(io) // from now on, not when all is loaded
      const { serve } = await import('./serve.ts')
      code = await serve(path, io, asked)
    })
  program
    .command('check')
    .argument('[config]', 'the config.yml to look at')
    .description('say what is wrong with a configuration')
    .action(async (path: string | undefined) => {
      const { check } = await import('./check.ts')
      code = await check(path, io)
    })
  program
    .command('garbage-collect')
    .argument('[config]', 'the config.yml of the registry')
    .description('remove what nothing needs any more; the registry may go on serving and taking pushes')
    .option('-d, --dry-run', 'remove nothing, name what would be removed', false)
    .option('-m, --delete-untagged', 'remove manifests that neither have a tag nor belong to one that has', false)
    .option('-q, --quiet', 'print the summary only', false)
    .addOption(
      new Option('--grace <duration>', 'leave alone what was written in the last such time')
        .argParser(parseGrace)
        .default(defaultGrace, '1h'),
    )
    .addOption(new Option('--no-dry-run').hideHelp())
    .addOption(new Option('--no-delete-untagged').hideHelp())
    .addOption(new Option('--no-quiet').hideHelp())
    .action(async (path: string | undefined, options: GarbageCollectOptions) => {
      const { garbageCollect } = await import('./garbage-collect.ts')
      code = await garbageCollect(path, options, io)
    })
  program
    .command('verify')
    .argument('[config]', 'the config.yml of the registry')
    .description('say what of the stored content is damaged; the registry may go on serving')
    .option('--set-aside', 'move damaged blobs away, so that a server fetches them anew', false)
    .option('-q, --quiet', 'print the summary only', false)
    .action(async (path: string | undefined, options: VerifyCommandOptions) => {
      const { verify } = await import('./verify.ts')
      code = await verify(path, options, io)
    })
  try {
    await program.parseAsync(args.map(ofGo), { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    throw error
  }
}

const switches: Readonly<Record<string, string>> = { d: 'dry-run', m: 'delete-untagged', q: 'quiet' }

/** Go takes a switch with its value too: `--delete-untagged=true` is how many a script for distribution has it. */
function ofGo(argument: string): string {
  const [, short = '', long = switches[short], value = ''] =
    /^(?:-([dmq])|--(dry-run|delete-untagged|quiet))=(.*)$/.exec(argument) ?? []
  if (long === undefined) return argument
  if (/^(?:1|t|true)$/i.test(value)) return `--${long}`
  return /^(?:0|f|false)$/i.test(value) ? `--no-${long}` : argument
}

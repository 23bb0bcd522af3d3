// `entrepot garbage-collect [CONFIG]`: removes what nothing needs from a storage, while it is served.
import { collectGarbage } from '../maintenance.ts'
import { loadConfig } from '../config/load.ts'
import { openLogger } from '../telemetry/logger.ts'
import { failureLine } from './failure.ts'
import type { Io } from './io.ts'
import { counted, ProgressLine } from './progress-line.ts'

/** As the command line has them. */
export interface GarbageCollectOptions {
  readonly dryRun: boolean
  readonly deleteUntagged: boolean
  readonly quiet: boolean
  /** Milliseconds. */
  readonly grace: number
}

type Report = Awaited<ReturnType<typeof collectGarbage>>
type Doomed = Parameters<NonNullable<Parameters<typeof collectGarbage>[1]['onDoomed']>>[0]

/** 0: all was looked at. 1: something could not be read, and is left as it was. */
export async function garbageCollect(
  path: string | undefined,
  options: GarbageCollectOptions,
  io: Io,
): Promise<number> {
  const { dryRun, deleteUntagged, quiet, grace } = options
  using line = new ProgressLine(io, quiet)
  try {
    const { config, warnings } = loadConfig({ path, env: io.env, cwd: io.cwd })
    if (!quiet) for (const warning of warnings) io.stderr.write(`warning: ${warning}\n`)
    const logger = await openLogger('text', { level: 'error', destination: io.stderr })
    const report = await collectGarbage(
      config,
      {
        dryRun,
        deleteUntagged,
        grace,
        signal: io.signal,
        onProgress: (now) => line.show(() => progress(now)),
        onProblem: ({ repository, text }) => {
          if (!quiet) line.say(`warning: ${repository === undefined ? '' : `${repository}: `}${text}`)
        },
        onDoomed: (doomed) => {
          if (!quiet) line.say(`${nameOf(doomed)} would be deleted`)
        },
      },
      logger,
    )
    line.clear()
    io.stdout.write(`${summary(report, dryRun)}\n`)
    if (report.isComplete) return 0
    io.stderr.write('not everything could be read: no blob was removed\n')
    return 1
  } catch (error) {
    line.clear()
    io.stderr.write(
      `${failureLine(error, io, 'garbage-collect', 'what was removed until now stays removed, all else is as it was')}\n`,
    )
    return 1
  }
}

function nameOf(doomed: Doomed): string {
  return doomed.kind === 'blob'
    ? `blob ${doomed.digest} (${counted(doomed.size, 'byte')})`
    : `${doomed.repository}: manifest ${doomed.digest}`
}

function summary({ repositories, manifests, blobs, removed }: Report, dryRun: boolean): string {
  const marked = [
    counted(repositories, 'repository', 'repositories'),
    counted(manifests, 'manifest'),
    counted(blobs, 'blob'),
  ]
  const gone = [
    counted(removed.manifests, 'manifest'),
    `${counted(removed.blobs, 'blob')} (${counted(removed.bytes, 'byte')})`,
  ]
  return `${marked.join(', ')} marked; ${gone.join(', ')} ${dryRun ? 'would be deleted' : 'deleted'}`
}

function progress({ phase, repositories, manifests, blobs, removed }: Report): string {
  return phase === 'repositories'
    ? `${counted(repositories, 'repository', 'repositories')}, ${counted(manifests, 'manifest')}`
    : `${counted(blobs, 'blob')} needed, ${removed.blobs} not`
}

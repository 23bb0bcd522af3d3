// `entrepot verify [CONFIG]`: says what of a storage is damaged, while it is served.
import { verifyStorage } from '../maintenance.ts'
import { loadConfig } from '../config/load.ts'
import { openLogger } from '../telemetry/logger.ts'
import { failureLine } from './failure.ts'
import type { Io } from './io.ts'
import { counted, ProgressLine } from './progress-line.ts'

/** As the command line has them. */
export interface VerifyCommandOptions {
  readonly setAside: boolean
  readonly quiet: boolean
}

type Report = Awaited<ReturnType<typeof verifyStorage>>

/** 0: all is right. 1: something is not, or could not be read. */
export async function verify(path: string | undefined, options: VerifyCommandOptions, io: Io): Promise<number> {
  const { setAside, quiet } = options
  using line = new ProgressLine(io, quiet)
  try {
    const { config, warnings } = loadConfig({ path, env: io.env, cwd: io.cwd })
    if (!quiet) for (const warning of warnings) io.stderr.write(`warning: ${warning}\n`)
    const report = await verifyStorage(
      config,
      {
        setAside,
        signal: io.signal,
        onProgress: (now) => line.show(() => progress(now)),
        onProblem: ({ repository, text }) => {
          if (!quiet) line.say(`${repository === undefined ? '' : `${repository}: `}${text}`)
        },
      },
      await openLogger('text', { level: 'error', destination: io.stderr }),
    )
    line.clear()
    io.stdout.write(`${summary(report)}\n`)
    return report.problems === 0 ? 0 : 1
  } catch (error) {
    line.clear()
    io.stderr.write(`${failureLine(error, io, 'verify', 'not everything was looked at')}\n`)
    return 1
  }
}

function progress({ phase, total, blobs, bytes, repositories, problems }: Report): string {
  const found = problems === 0 ? '' : `, ${counted(problems, 'problem')}`
  if (phase === 'repositories') return `${counted(repositories, 'repository', 'repositories')}${found}`
  const percent = total === 0 ? 100 : Math.min(100, Math.floor((blobs / total) * 100))
  const bar = '#'.repeat(Math.floor(percent / 5)).padEnd(20, '.')
  return `[${bar}] ${blobs} of ${counted(total, 'blob')}, ${Math.floor(bytes / 1024 ** 2)} MiB${found}`
}

function summary({ blobs, bytes, setAside, repositories, manifests, tags, partial, problems }: Report): string {
  const seen = [
    `${counted(blobs, 'blob')} (${counted(bytes, 'byte')})`,
    counted(repositories, 'repository', 'repositories'),
    counted(manifests, 'manifest'),
    counted(tags, 'tag'),
  ]
  const outcome = problems === 0 ? 'all is right' : `${counted(problems, 'problem')} found`
  const moved = setAside === 0 ? '' : `, ${counted(setAside, 'blob')} set aside`
  const pulled =
    partial === 0 ? '' : ` (${counted(partial, 'manifest')} of copies not pulled whole, which is no problem)`
  return `${seen.join(', ')}: ${outcome}${moved}${pulled}`
}

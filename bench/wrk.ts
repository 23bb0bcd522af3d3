// Requests by the hundred thousand: wrk where it is, which cannot look at bodies while it runs, so that their bytes are
// counted, and a client of our own asks beside it and looks at what it gets; else our own clients, which are slower.
import { run, without, type Folder } from '../test/support/real-parts.ts'
import { accept, type Target } from './client.ts'
import type { Load } from './load.ts'

/** Why answers are counted by our own clients, or `false`. */
export const noWrk: string | false = without('wrk')

const connections = 32
/** Milliseconds from one look at a body to the next. */
const lookEvery = 10
/** By so many bytes a head may differ from another. */
const headSlack = 64
/** Costs nothing while requests run. */
const script = `done = function(summary)
  local e = summary.errors
  io.write(string.format("sum %d %d %d %d\\n", summary.requests, summary.bytes, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
`

/** Resolves with requests a second. @throws Error where an answer is not what it must be */
export async function requestRate(
  folder: Folder,
  load: Load,
  url: string,
  target: Target,
  seconds: number,
): Promise<number> {
  if (noWrk !== false) {
    const loaded = await load.run({ url, targets: [target], connections, seconds })
    return loaded.answers / loaded.seconds
  }
  const file = await folder.write('sum.lua', script)
  const flags = ['--threads', '1', '--connections', String(connections), '--duration', `${seconds}s`]
  const [text, looks] = await Promise.all([
    run('wrk', [...flags, '--script', file, '--header', `Accept: ${accept}`, `${url}${target.path}`]),
    load.run({ url, targets: [target], connections: 1, seconds, every: lookEvery }),
  ])
  const whole = looks.bytes / looks.answers + looks.headSize
  const [, requests = NaN, bytes = NaN, duration = NaN, errors = NaN] = (
    /^sum (\d+) (\d+) (\d+) (\d+)$/m.exec(text) ?? []
  ).map(Number)
  const isRight = bytes >= requests * (whole - headSlack) && bytes <= (requests + connections) * (whole + headSlack)
  if (errors !== 0 || !isRight) throw new Error(`wrong answers of ${url}${target.path}:\n${text}`)
  return requests / (duration / 1e6)
}

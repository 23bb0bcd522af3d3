// `npm run bench`: entrepot beside its peers, and beside what the machine can do, in everything that has to be fast.
import { loadavg } from 'node:os'
import { machine, writeMeasured } from '../test/support/outside/measured-page.ts'
import { tcpTimeouts } from '../test/support/outside/proc.ts'
import { mebibyte, type Bench, type Scale } from './arena.ts'
import { parseArguments, type Arguments } from './arguments.ts'
import { cold, gigabit, throttled } from './cold.ts'
import { crowd, latency } from './crowd.ts'
import { growth, Growth } from './growth.ts'
import { images } from './images.ts'
import { findPeers, type Peers } from './peers.ts'
import { allRows, isMet, resultTable, Results } from './rows.ts'
import { idle, start } from './starts.ts'
import { small, throughput } from './warm.ts'
import { noWrk } from './wrk.ts'

const measures: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  small,
  throughput,
  cold,
  gigabit,
  throttled,
  crowd,
  images,
  latency,
  idle,
  start,
  growth,
}

/** Where TLS makes no difference. */
const withoutTls: readonly string[] = ['growth']

const usage = `npm run bench -- [quick] [--tls] [--only NAME,…] [--runs N] [--objects N] [--folder FOLDER] [--peers FOLDER] [--write]
names: ${Object.keys(measures).join(', ')}
`

function scaleOf({ isQuick, isSecure, runs, objects, folder }: Arguments): Scale {
  const sizes = isQuick
    ? { runs: 2, seconds: 1, large: 64 * mebibyte, shared: mebibyte, objects: 10_000 }
    : { runs: 5, seconds: 3, large: 256 * mebibyte, shared: 4 * mebibyte, objects: 1_000_000 }
  return { ...sizes, isQuick, isSecure, runs: runs ?? sizes.runs, objects: objects ?? sizes.objects, folder }
}

interface Circumstances {
  /** Of the machine, before. */
  readonly load: number
  /** Of TCP, meanwhile; unknown where the system does not say. */
  readonly timeouts: number | undefined
  /** Measures that did not come to their end. */
  readonly failed: readonly string[]
}

/** What is to be said, by its places in the page: what was not measured stays as it is there. */
function report(
  { results, growth: found, scale }: Bench,
  { names, missing }: Peers,
  { load, timeouts, failed }: Circumstances,
): [mark: string, text: string][] {
  const command = ['npm run bench --', ...process.argv.slice(2)].join(' ')
  const programs = Object.values(names).filter((name) => name !== 'entrepot')
  const notes = [...missing, ...(noWrk === false ? [] : [`wrk is ${noWrk}: requests are made by our own clients`])]
  const not = notes.length === 0 ? '' : ` Not here: ${notes.join('; ')}.`
  const sizes = `Medians of ${scale.runs} interleaved runs (smallest–largest), then how many times entrepot's median is that of the column. A large blob has ${scale.large / mebibyte} MiB, the shared one ${scale.shared / mebibyte} MiB; many objects are ${scale.objects.toLocaleString('en')}.${not}`
  const secure = scale.isSecure ? ' Clients speak TLS with all of them; the origin does not.' : ''
  const cut = failed.length === 0 ? '' : ` These failed before all their runs were over: ${failed.join(', ')}.`
  const waits = timeouts === undefined ? '' : `, and its TCP ran into a timeout ${timeouts.toLocaleString('en')} times`
  const busy = `The load of the machine was ${load.toFixed(2)} before${waits}.`
  const where = `${machine(command, programs)} ${busy}`
  const places: [mark: string, text: string][] = []
  if (results.measured.length > 0) {
    const text = [where, sizes + secure + cut, resultTable(results, names)].join('\n\n')
    places.push([scale.isSecure ? 'measured with TLS' : 'measured', text])
  }
  const grown = found.table()
  if (grown !== undefined) places.push(['measured growth', `${where}${cut}\n\n${grown}`])
  return places
}

/** Whoever ends it ends what it started too, and removes its folders; whoever insists only ends it. */
function endOnSignal({ arenas }: Bench): AbortSignal {
  const ending = new AbortController()
  const end = async (): Promise<void> => {
    for (const arena of arenas) await arena[Symbol.asyncDispose]()
    process.exit(130)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      process.once(signal, () => process.exit(130))
      ending.abort()
      void end()
    })
  }
  return ending.signal
}

async function main(): Promise<number> {
  let wanted: Arguments
  try {
    wanted = parseArguments(process.argv.slice(2), Object.keys(measures))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
    return 2
  }
  const [load = NaN] = loadavg()
  const before = process.platform === 'linux' ? await tcpTimeouts() : undefined
  const peers = await findPeers(wanted.peers)
  const scale = scaleOf(wanted)
  const results = new Results()
  const began = performance.now()
  const say = (text: string): void => {
    process.stderr.write(`${((performance.now() - began) / 1000).toFixed(0)} s: ${text}\n`)
  }
  const bench: Bench = { scale, results, growth: new Growth(), peers: peers.programs, arenas: new Set(), say }
  const ending = endOnSignal(bench)
  const failed: string[] = []
  for (const [name, measure] of Object.entries(measures)) {
    const isWanted =
      wanted.only.length > 0 ? wanted.only.includes(name) : !(scale.isSecure && withoutTls.includes(name))
    if (!isWanted) continue
    say(name)
    try {
      await measure(bench)
    } catch (error) {
      if (ending.aborted) return await new Promise<never>(() => {}) // the signal ends the process
      failed.push(name)
      say(`${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
  }
  const timeouts = before === undefined ? undefined : (await tcpTimeouts()) - before
  for (const [mark, text] of report(bench, peers, { load, timeouts, failed })) {
    process.stdout.write(`${text}\n\n`)
    if (wanted.write) await writeMeasured('performance.md', text, mark)
  }
  for (const row of results.measured.filter((id) => isMet(id, results) === false)) say(`missed: ${allRows[row].title}`)
  return failed.length > 0 ? 1 : 0
}

process.exitCode = await main()

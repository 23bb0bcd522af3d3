// `npm run torture`: the same faults for entrepot and for a peer, both as processes, and a table of what happened.
import { parseArgs } from 'node:util'
import { machine, writeMeasured } from '../support/outside/measured-page.ts'
import { amplification, memory } from './amplification.ts'
import { damage, fullDisk, starts } from './disk.ts'
import { kills } from './kills.ts'
import { allRows, meanings, measureTable, missed, outcomeTable, type Column } from './rows.ts'
import { secrets } from './secrets.ts'
import { Findings, type Scale } from './stage.ts'
import { targets, type Target } from './target.ts'
import { deadUpstream, upstreamFaults } from './upstream-faults.ts'

const groups = { starts, secrets, damage, fullDisk, amplification, memory, upstreamFaults, deadUpstream, kills }

type Group = keyof typeof groups

/** What may run at the same time, where there is little of it. */
const turns: readonly (readonly Group[])[] = [
  ['starts', 'secrets', 'damage', 'fullDisk', 'kills'],
  ['amplification'],
  ['memory', 'upstreamFaults'],
  ['deadUpstream'],
]

interface Tortured {
  readonly column: Column
  /** Groups that came to no end, and why. */
  readonly broken: readonly string[]
}

const usage = `npm run torture -- [--target entrepot|docker-registry|both] [--quick] [--kills N] [--only GROUP,…] [--write]
groups: ${Object.keys(groups).join(', ')}
`

const mebibyte = 1024 * 1024

function scaleOf(isQuick: boolean, killCount: string | undefined): Scale {
  const sizes = isQuick
    ? { aborts: 500, shared: mebibyte, large: 128 * mebibyte, deadTime: 3000, patience: 8000 }
    : { aborts: 10_000, shared: 16 * mebibyte, large: 1024 * mebibyte, deadTime: 30_000, patience: 60_000 }
  return {
    isQuick,
    kills: Number(killCount ?? (isQuick ? 50 : 1000)),
    timeouts: isQuick ? '{ connect: 500ms, firstbyte: 1s, idle: 1s }' : undefined,
    ...sizes,
  }
}

async function torture(target: Target, scale: Scale, only: readonly string[]): Promise<Tortured> {
  const findings = new Findings(target, scale)
  const broken: string[] = []
  const runGroup = async (name: Group): Promise<void> => {
    if (only.length > 0 && !only.includes(name)) return
    const began = performance.now()
    try {
      await groups[name](findings)
    } catch (error) {
      broken.push(`${name}: ${String(error)}`)
      findings.say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    findings.say(`${name} took ${((performance.now() - began) / 1000).toFixed(0)} s`)
  }
  for (const turn of turns) {
    if (scale.isQuick) await Promise.all(turn.map(runGroup))
    else for (const name of turn) await runGroup(name)
  }
  const { wrong, answers, results, outcomes } = findings
  for (const text of new Set(wrong)) findings.say(`wrong and complete: ${text}`)
  findings.note('wrong', `${wrong.length} of ${answers.toLocaleString('en')}`, wrong.length === 0)
  return { column: { name: await target.name(), results, outcomes }, broken }
}

function report(columns: readonly Column[], command: string): string {
  const peers = columns.map(({ name }) => name).filter((name) => name !== 'entrepot')
  return [
    machine(command, peers),
    measureTable(columns),
    'What clients are told, for each thing that an upstream may do:',
    outcomeTable(columns),
  ].join('\n\n')
}

function titlesOfMissed(column: Column): string[] {
  return missed(column).map((id) => allRows[id].title)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string', default: 'both' },
      quick: { type: 'boolean', default: false },
      kills: { type: 'string' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const wanted = targets.filter(({ id }) => values.target === 'both' || values.target === id)
  const only = values.only === '' ? [] : values.only.split(',')
  if (
    values.help ||
    wanted.length === 0 ||
    !/^\d+$/.test(values.kills ?? '1') ||
    only.some((name) => !(name in groups))
  ) {
    process.stderr.write(usage)
    return values.help ? 0 : 2
  }
  const scale = scaleOf(values.quick, values.kills)
  const present = wanted.filter(({ missing }) => missing === false)
  for (const { id, missing } of wanted) if (missing !== false) process.stderr.write(`${id} is left out: ${missing}\n`)
  const tortured: Tortured[] = []
  if (values.quick)
    tortured.push(...(await Promise.all(present.map(async (target) => await torture(target, scale, only)))))
  else for (const target of present) tortured.push(await torture(target, scale, only))
  const columns = tortured.map(({ column }) => column)
  const entrepot = tortured.find(({ column }) => column.name === 'entrepot')
  const failures = [...(entrepot?.broken ?? []), ...(entrepot === undefined ? [] : titlesOfMissed(entrepot.column))]
  const text = report(columns, ['npm run torture --', ...process.argv.slice(2)].join(' '))
  process.stdout.write(`${text}\n`)
  if (values.write)
    await writeMeasured('faults.md', `${text}\n\nWhat the rows of the first table mean:\n\n${meanings()}`)
  for (const title of failures) process.stderr.write(`entrepot misses: ${title}\n`)
  return failures.length > 0 ? 1 : 0
}

// Whoever ends it ends what it started too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.exitCode = await main()

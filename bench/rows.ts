// What is measured: a row for each kind of work, and what entrepot has to reach in it.
import { table } from '../test/support/outside/measured-page.ts'
import { spreadOf, spreadText, timesText, type Unit } from './statistics.ts'

export type Column = 'entrepot' | 'docker-registry' | 'distribution' | 'yardstick'

export const peers: readonly Column[] = ['docker-registry', 'distribution']

/** Met where entrepot's median is at least, or at most, so many times the other one's, and `plus`. */
export interface Goal {
  /** `itself`: the bounds are the figures. */
  readonly against: 'peers' | 'yardstick' | 'itself'
  readonly atLeast?: number
  readonly atMost?: number
  readonly plus?: number
}

export interface Row {
  readonly title: string
  readonly unit: Unit
  /** In the words of the table. */
  readonly target: string
  readonly goals: readonly Goal[]
  /** What the column of the yardstick holds. */
  readonly yardstick: 'nginx' | 'direct' | 'one client or nginx' | undefined
}

export type RowId =
  | 'digest'
  | 'tag'
  | 'small'
  | 'medium'
  | 'mebibyte'
  | 'large'
  | 'cpu'
  | 'cold'
  | 'transfers'
  | 'gigabit'
  | 'first'
  | 'throttled'
  | 'shared'
  | 'crowd'
  | 'streams'
  | 'skopeoCold'
  | 'skopeoWarm'
  | 'containerdCold'
  | 'containerdWarm'
  | 'latency'
  | 'idle'
  | 'start'
  | 'startFull'

function requests(title: string): Row {
  return {
    title,
    unit: '/s',
    target: '≥ 20× peers, ≥ 0.5× nginx',
    goals: [
      { against: 'peers', atLeast: 20 },
      { against: 'yardstick', atLeast: 0.5 },
    ],
    yardstick: 'nginx',
  }
}

function throughput(title: string, timesPeers: number): Row {
  return {
    title,
    unit: 'GB/s',
    target: `≥ ${timesPeers}× peers, ≥ 1× nginx`,
    goals: [
      { against: 'peers', atLeast: timesPeers },
      { against: 'yardstick', atLeast: 1 },
    ],
    yardstick: 'nginx',
  }
}

function started(title: string): Row {
  return {
    title,
    unit: 's',
    target: '≤ peers + 0.3 s',
    goals: [{ against: 'peers', atMost: 1, plus: 0.3 }],
    yardstick: undefined,
  }
}

/** What comes from the origin, as a multiple of what is there. */
function once(title: string): Row {
  return { title, unit: '×', target: '1.00', goals: [{ against: 'itself', atMost: 1.005 }], yardstick: undefined }
}

function faster(title: string): Row {
  return {
    title,
    unit: 's',
    target: 'faster than peers',
    goals: [{ against: 'peers', atMost: 1 }],
    yardstick: undefined,
  }
}

export const allRows: Readonly<Record<RowId, Row>> = {
  digest: requests('cached manifest by digest'),
  tag: requests('cached manifest by tag, fresh'),
  small: requests('cached blob of 4 KiB'),
  medium: requests('cached blob of 64 KiB'),
  mebibyte: throughput('cached blob of 1 MiB', 3),
  large: throughput('cached large blob', 1.2),
  cpu: {
    title: 'CPU seconds for each GB of it',
    unit: 's/GB',
    target: 'less than peers, ≤ 2× nginx',
    goals: [
      { against: 'peers', atMost: 1 },
      { against: 'yardstick', atMost: 2 },
    ],
    yardstick: 'nginx',
  },
  cold: {
    title: 'cold large blob, origin unthrottled',
    unit: 's',
    target: '≤ 1.1× peers',
    goals: [{ against: 'peers', atMost: 1.1 }],
    yardstick: 'direct',
  },
  transfers: once('bytes from the origin for it ÷ size'),
  gigabit: {
    title: 'cold large blob, origin behind 1 Gbit/s',
    unit: 's',
    target: 'faster than peers, ≤ 1.03× direct',
    goals: [
      { against: 'peers', atMost: 1 },
      { against: 'yardstick', atMost: 1.03 },
    ],
    yardstick: 'direct',
  },
  first: {
    title: 'first byte of it',
    unit: 'ms',
    target: '≤ direct + 10 ms',
    goals: [{ against: 'yardstick', atMost: 1, plus: 10 }],
    yardstick: 'direct',
  },
  throttled: {
    title: 'cold blob, each connection throttled, `fill.connections: 4`',
    unit: 's',
    target: '≥ 3× faster than direct',
    goals: [{ against: 'yardstick', atMost: 1 / 3 }],
    yardstick: 'direct',
  },
  shared: once('1,000 clients, one cold blob: bytes from the origin ÷ size'),
  crowd: {
    title: 'the same, until the last has it',
    unit: 's',
    target: '≤ 1.2× one client, or line rate',
    goals: [{ against: 'yardstick', atMost: 1.2 }],
    yardstick: 'one client or nginx',
  },
  streams: {
    title: 'the same, peak RSS',
    unit: 'MiB',
    target: '≤ 256 MiB',
    goals: [{ against: 'itself', atMost: 256 }],
    yardstick: undefined,
  },
  skopeoCold: faster('image by skopeo, cold'),
  skopeoWarm: faster('image by skopeo, warm'),
  containerdCold: faster('image by containerd, cold'),
  containerdWarm: faster('image by containerd, warm'),
  latency: {
    title: 'p99 of a cached manifest while 50 large pulls run',
    unit: 'ms',
    target: 'lower than peers',
    goals: [{ against: 'peers', atMost: 1 }],
    yardstick: 'nginx',
  },
  idle: {
    title: 'RSS, idle',
    unit: 'MiB',
    target: '≤ 100 MiB',
    goals: [{ against: 'itself', atMost: 100 }],
    yardstick: undefined,
  },
  start: started('start to ready, empty'),
  startFull: started('start to ready, many objects'),
}

const rowIds = Object.keys(allRows) as RowId[]

/** The figures of all runs. */
export class Results {
  readonly #values = new Map<RowId, Map<Column, number[]>>()

  note(row: RowId, column: Column, value: number): void {
    const columns = this.#values.get(row) ?? new Map<Column, number[]>()
    this.#values.set(row, columns)
    columns.set(column, [...(columns.get(column) ?? []), value])
  }

  of(row: RowId, column: Column): readonly number[] {
    return this.#values.get(row)?.get(column) ?? []
  }

  /** Rows in which there is a figure of entrepot, in the order of the table. */
  get measured(): readonly RowId[] {
    return rowIds.filter((row) => this.of(row, 'entrepot').length > 0)
  }
}

/** Whether every goal of a row is met that can be judged; `undefined`: none can. */
export function isMet(row: RowId, results: Results): boolean | undefined {
  const median = (column: Column): number | undefined => spreadOf(results.of(row, column))?.median
  const value = median('entrepot')
  if (value === undefined) return undefined
  const verdicts = allRows[row].goals.flatMap(({ against, atLeast, atMost, plus = 0 }) => {
    const others = against === 'itself' ? [1] : (against === 'peers' ? peers : (['yardstick'] as const)).map(median)
    return others
      .filter((other) => other !== undefined)
      .map((other) => value >= (atLeast ?? -Infinity) * other && value <= (atMost ?? Infinity) * other + plus)
  })
  return verdicts.length === 0 ? undefined : verdicts.every((isReached) => isReached)
}

export function resultTable(results: Results, names: Readonly<Partial<Record<Column, string>>>): string {
  const others = peers.filter((column) => names[column] !== undefined)
  const lines = results.measured.map((row) => {
    const { title, unit, target, yardstick } = allRows[row]
    const own = spreadOf(results.of(row, 'entrepot'))
    const cell = (column: Column): string => {
      const spread = spreadOf(results.of(row, column))
      if (spread === undefined) return '–'
      const times = own === undefined || column === 'entrepot' ? '' : ` · ${timesText(own.median / spread.median)}`
      const what = column === 'yardstick' && yardstick !== 'nginx' ? `${yardstick}: ` : ''
      return `${what}${spreadText(spread, unit)}${times}`
    }
    const verdict = isMet(row, results)
    const met = verdict === undefined ? '–' : verdict ? 'yes' : '**no**'
    return [title, cell('entrepot'), ...others.map(cell), cell('yardstick'), target, met]
  })
  const heads = ['work', 'entrepot', ...others.map((column) => names[column] ?? ''), names.yardstick ?? '–']
  return table([...heads, 'target', 'met'], lines)
}

// What is measured: a row for each promise, and the table that they make.
import { table } from '../support/outside/measured-page.ts'

export interface Row {
  readonly title: string
  readonly target: string
  /** In plain words. */
  readonly meaning: string
  /** Missing it fails the run. */
  readonly hard?: boolean
}

export type RowId =
  | 'wrong'
  | 'lost'
  | 'again'
  | 'hands'
  | 'orphans'
  | 'digest'
  | 'tag'
  | 'dead'
  | 'fresh'
  | 'one'
  | 'twenty'
  | 'thousand'
  | 'broken'
  | 'stall'
  | 'silent'
  | 'streams'
  | 'huge'
  | 'slope'
  | 'files'
  | 'leak'
  | 'secrets'
  | 'start'
  | 'state'
  | 'found'
  | 'healed'
  | 'full'
  | 'full2'

export const allRows: Readonly<Record<RowId, Row>> = {
  wrong: {
    title: 'Wrong bodies that were complete, in all answers of the run',
    target: '0',
    hard: true,
    meaning:
      'An answer that ended as HTTP says it must, with status 200, whose bytes are not those of the digest in its URL (for a tag: of no manifest that the upstream has under it). A client that checks nothing takes it for right.',
  },
  lost: {
    title: 'Objects lost or wrong after `kill -9` in mid-fill',
    target: '0',
    hard: true,
    meaning:
      'The process is killed when a random byte of an image has come in, or up to 30 ms later, and started again on the same folder. What was ever answered whole is pulled again: after each restart the images of the last kills, all of them now and then, and at the end once more while the upstream is gone.',
  },
  again: {
    title: 'Bytes fetched again of blobs that were answered whole before a kill',
    target: 'few',
    meaning:
      'An answer may be whole a moment before its file is durable: a kill in between costs a transfer, not the object.',
  },
  hands: {
    title: 'Restarts after a kill that needed a hand',
    target: '0',
    meaning: 'The process did not start, until its own state file was removed by hand.',
  },
  orphans: {
    title: 'Bytes of dead processes: after the last kill, and after a restart once they are old',
    target: 'any, then 0',
    meaning:
      'Unfinished files. entrepot keeps them for a quarter of an hour, for the next fill to go on behind them; then they are swept. Their times are set back here, instead of waiting. distribution purges uploads that are a week old, within an hour of its start: that hour is not waited for.',
  },
  digest: {
    title: 'Cached content served during every upstream fault, by digest',
    target: '100 %',
    hard: true,
    meaning:
      'A manifest and a blob that were pulled before, pulled again by digest during each fault of the second table.',
  },
  tag: {
    title: 'The same by tag, each pull having to ask the upstream (`freshness: 0s`)',
    target: '100 %',
    hard: true,
    meaning:
      'A tag that was pulled before. Where a fault lies in bodies, the tag has moved upstream, so that the new manifest is asked for and does not come; the old one or the new one is right then.',
  },
  dead: {
    title:
      'Cached tag while the upstream is dead, p99 after the first pull: refused / black hole / accepts and is silent',
    target: '≤ 50 ms',
    meaning:
      '`freshness: 0s`: every pull wants to ask. What counts is that it does not wait for the same silence each time.',
  },
  fresh: {
    title: 'Cached tag in a black hole, p99, freshness as shipped (5 min)',
    target: '≤ 50 ms',
    meaning: 'What the defaults give: within its freshness a tag is answered without asking.',
  },
  one: {
    title: '1 client on a cold blob: requests, bytes from the upstream ÷ size',
    target: '1, 1.00',
    hard: true,
    meaning: 'Counted where the origin hands bytes to the network.',
  },
  twenty: {
    title: '20 clients at once',
    target: '1, 1.00',
    hard: true,
    meaning: 'All of them ask before the origin goes on.',
  },
  thousand: { title: '1,000 clients at once', target: '1, 1.00', hard: true, meaning: 'As above.' },
  broken: {
    title: 'A transfer that breaks once at its middle: the client gets, bytes ÷ size',
    target: 'whole, 1.00',
    meaning: 'It goes on by Range, behind the byte that was reached.',
  },
  stall: {
    title: 'The upstream stalls in mid-body: clients are released after',
    target: '≤ 30 s',
    meaning: 'The slowest of one client and of twenty, until the connection ends.',
  },
  silent: {
    title: 'The upstream accepts and never answers, object not here: clients hear so after',
    target: '≤ 30 s',
    meaning: 'Blob, manifest and tag; the slowest.',
  },
  streams: {
    title: 'Peak RSS with 1,000 streams of one cold blob',
    target: '≤ 256 MiB',
    meaning: 'The peak that the kernel keeps for the process, from before the first of them connected.',
  },
  huge: {
    title: 'Peak RSS when the upstream has a manifest of 100 MiB',
    target: '≤ 256 MiB',
    meaning: 'distribution takes it; entrepot refuses manifests above 4 MiB.',
  },
  slope: {
    title: 'Peak RSS with a small and with a large cold blob',
    target: 'differs ≤ 10 %',
    meaning: 'No large blob is held in memory. Each in a process of its own, one client; the middle of three.',
  },
  files: {
    title: 'Open files before and after clients that hang up at a random byte',
    target: '± 2',
    meaning: 'Half of them on a cached blob, half on one that comes in. Before: after some of them, to be warm.',
  },
  leak: {
    title: 'RSS before and after the same',
    target: '± 5 %',
    meaning: 'Measured when the open files are back, or a minute later.',
  },
  secrets: {
    title: 'Secrets that came to a foreign host',
    target: '0',
    hard: true,
    meaning:
      'Upstream credentials are configured. The origin names a token server on another host, and redirects blobs there; a token of its own, and the password, are looked for in all that arrives.',
  },
  start: {
    title: 'Starts with the upstream down, credentials set',
    target: 'yes',
    meaning: 'And answers /v2/.',
  },
  state: {
    title: 'Starts with emptied state files',
    target: 'yes',
    meaning:
      'Every file of its own beside the tree of blobs and repositories has 0 bytes; what was cached is still served.',
  },
  found: {
    title: 'Damaged blobs in the store: answered wrong and whole / found',
    target: '0 / all',
    meaning:
      'A bit flipped at the beginning, in the middle, at the end; cut short; emptied; removed. Once while the process runs, once while it does not. Pulled while the upstream is gone.',
  },
  healed: {
    title: 'The same, healed without a hand once the upstream is back',
    target: 'all',
    meaning: 'The second pull has the right bytes, and so has the file.',
  },
  full: {
    title: 'A blob larger than the disk: the client gets, the disk afterwards',
    target: 'whole, freed',
    meaning: 'A small tmpfs; needs root.',
  },
  full2: {
    title: 'Cached content on the full disk',
    target: 'served',
    meaning: 'An image that came before the large blob.',
  },
}

export interface Result {
  readonly text: string
  /** `undefined`: nothing to be met. */
  readonly met: boolean | undefined
}

/** What an upstream fault led to, for the second table. */
export interface Outcome {
  readonly fault: string
  readonly uncached: string
  readonly cached: string
}

export interface Column {
  readonly name: string
  readonly results: ReadonlyMap<RowId, Result>
  readonly outcomes: readonly Outcome[]
}

/** Rows that this column misses and must not. */
export function missed({ results }: Column): readonly RowId[] {
  return (Object.keys(allRows) as RowId[]).filter((id) => allRows[id].hard === true && results.get(id)?.met === false)
}

export function measureTable(columns: readonly Column[]): string {
  const lines = (Object.keys(allRows) as RowId[]).map((id) => {
    const cells = columns.map(({ results }) => {
      const { text, met } = results.get(id) ?? { text: 'not measured', met: undefined }
      return met === false ? `${text} — **missed**` : text
    })
    return [allRows[id].title, allRows[id].target, ...cells]
  })
  return table(['measure', 'target', ...columns.map(({ name }) => name)], lines)
}

/** What each row means, in plain words. */
export function meanings(): string {
  return Object.values(allRows)
    .map(({ title, meaning }) => `- **${title}**: ${meaning}`)
    .join('\n')
}

export function outcomeTable(columns: readonly Column[]): string {
  const [first] = columns
  const lines = (first?.outcomes ?? []).map(({ fault }) => {
    const cells = columns.flatMap(({ outcomes }) => {
      const found = outcomes.find((outcome) => outcome.fault === fault)
      return [found?.uncached ?? '–', found?.cached ?? '–']
    })
    return [fault, ...cells]
  })
  const heads = columns.flatMap(({ name }) => [`not cached: ${name}`, `cached: ${name}`])
  return table(['the upstream', ...heads], lines)
}

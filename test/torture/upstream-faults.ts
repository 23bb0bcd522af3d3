// Everything an upstream can do wrong, each in a stage of its own: what is cached is pulled during it, and what is not.
import type { Fault, Place } from '../support/outside/faults.ts'
import type { Image } from '../support/outside/origin.ts'
import { Stage, type Findings, type Pulled } from './stage.ts'

interface Trouble {
  /** Follows «the upstream …». */
  readonly name: string
  /** In bodies: a tag has to move, or nobody asks for a body. */
  readonly inBodies?: boolean
  /** Left out where there is little time. */
  readonly isRare?: boolean
  readonly begin: (stage: Stage) => Promise<void>
}

const half: Place = { part: 0.5 }
const html = '<!doctype html><title>Log in to the network</title>'

function by(fault: Fault): Trouble['begin'] {
  return async ({ origin }) => await origin.fault(fault)
}

function refusing(status: number, headers: Readonly<Record<string, string>> = {}): Trouble['begin'] {
  return by({ do: 'reply', status, headers, body: '{"errors":[{"code":"UNKNOWN","message":"no"}]}' })
}

const refused: Trouble = { name: 'refuses connections', begin: async ({ origin }) => await origin.down() }
const blackHole: Trouble = {
  name: 'is a black hole',
  isRare: true,
  begin: async ({ origin }) => await origin.blackHole(),
}
const silent: Trouble = { name: 'accepts and never answers', begin: by({ do: 'silence' }) }
const stalling: Trouble = { name: 'stalls in mid-body', inBodies: true, begin: by({ do: 'stall', at: half }) }

const troubles: readonly Trouble[] = [
  refused,
  blackHole,
  silent,
  { name: 'resets each connection', isRare: true, begin: by({ do: 'reset' }) },
  { name: 'cuts by RST at the middle', isRare: true, inBodies: true, begin: by({ do: 'cut', at: half, by: 'RST' }) },
  { name: 'cuts by FIN at the middle', inBodies: true, begin: by({ do: 'cut', at: half, by: 'FIN' }) },
  {
    name: 'cuts before the last byte',
    isRare: true,
    inBodies: true,
    begin: by({ do: 'cut', at: { byte: -1 }, by: 'FIN' }),
  },
  {
    name: 'gives no length and ends at the middle',
    isRare: true,
    inBodies: true,
    begin: by({ do: 'cut', at: half, by: 'FIN', withoutLength: true }),
  },
  stalling,
  { name: 'drips one byte a second', isRare: true, inBodies: true, begin: by({ do: 'drip' }) },
  { name: 'sends a wrong bit', inBodies: true, begin: by({ do: 'flip' }) },
  { name: 'sends another object of the same kind', isRare: true, inBodies: true, begin: by({ do: 'swap' }) },
  { name: 'gzips what it sends', isRare: true, inBodies: true, begin: by({ do: 'gzip' }) },
  {
    name: 'answers 200 with HTML',
    begin: by({ do: 'reply', status: 200, headers: { 'content-type': 'text/html' }, body: html }),
  },
  { name: 'answers 200 with nothing', isRare: true, begin: by({ do: 'reply', status: 200 }) },
  { name: 'redirects in a circle', isRare: true, begin: by({ do: 'redirect', to: 'itself' }) },
  { name: 'answers 401', isRare: true, begin: refusing(401, { 'www-authenticate': 'Basic realm="origin"' }) },
  { name: 'answers 403', begin: refusing(403) },
  { name: 'answers 404', begin: refusing(404) },
  { name: 'answers 429', begin: refusing(429, { 'retry-after': '7' }) },
  { name: 'answers 500', isRare: true, begin: refusing(500) },
  { name: 'answers 503', begin: refusing(503) },
]

const asking = { freshness: '0s' }
const sizes = [4096, 1024 * 1024]
/** Faults that are tried out at the same time. */
const atOnce = 3

export async function upstreamFaults(findings: Findings): Promise<void> {
  const tally = { digest: [0, 0], tag: [0, 0] } satisfies Record<string, [number, number]>
  const failed = { digest: new Set<string>(), tag: new Set<string>() }
  const waits = { stall: 0, silent: 0 }
  const { isQuick, patience } = findings.scale
  const left = troubles.filter(({ isRare }) => !isQuick || isRare !== true).entries()
  const work = async (): Promise<void> => {
    for (const [index, trouble] of left) {
      const seen = await suffer(findings, trouble)
      for (const kind of ['digest', 'tag'] as const) {
        const answers = kind === 'tag' ? [seen.tag] : seen.byDigest
        tally[kind][0] += answers.filter(({ isRight }) => isRight).length
        tally[kind][1] += answers.length
        if (!answers.every(({ isRight }) => isRight)) failed[kind].add(trouble.name)
      }
      if (trouble === stalling) waits.stall = slowest([...seen.crowd, seen.blob])
      if (trouble === silent) waits.silent = slowest([...seen.crowd, seen.blob, seen.manifest, seen.newTag])
      findings.outcomes[index] = {
        fault: trouble.name,
        uncached: `blob ${said(seen.blob)}; manifest ${said(seen.manifest)}; tag ${said(seen.newTag)}`,
        cached: `digest ${seen.byDigest.map(said).join(', ')}; tag ${said(seen.tag)}`,
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  for (const kind of ['digest', 'tag'] as const) {
    const [served, all] = tally[kind]
    const but = failed[kind].size === 0 ? '' : `, not where it ${[...failed[kind]].join('; ')}`
    findings.note(kind, `${percent(served / all)} (${served} of ${all}${but})`, served === all)
  }
  const how = isQuick ? ' (shorter timeouts)' : ''
  for (const row of ['stall', 'silent'] as const) {
    const wait = waits[row]
    const text = wait >= patience ? `not within ${seconds(patience)}` : seconds(wait)
    findings.note(row, `${text}${how}`, wait <= 30_000 && wait < patience)
  }
}

interface Seen {
  readonly byDigest: readonly Pulled[]
  readonly tag: Pulled
  readonly blob: Pulled
  readonly manifest: Pulled
  readonly newTag: Pulled
  /** Twenty at once on one more blob. */
  readonly crowd: readonly Pulled[]
}

async function suffer(findings: Findings, trouble: Trouble): Promise<Seen> {
  const { timeouts } = findings.scale
  await using stage = await Stage.open(findings, { ...asking, timeouts })
  const { origin } = stage
  const cached = await origin.addImage('cached', 'v1', sizes)
  const cold = await origin.addImage('cold', 'v1', sizes)
  const other = await origin.addImage('cold', 'v2', sizes) // what another object is taken from, and a tag of its own
  await warm(stage, cached)
  const moved = trouble.inBodies === true ? await origin.addManifest('cached', 'v1', cached.blobs) : cached.manifest
  await trouble.begin(stage)
  const [, layer = { digest: '', size: 0 }] = cold.blobs
  const [, shared = { digest: '', size: 0 }] = other.blobs
  const [byDigest, tag, blob, manifest, newTag, crowd] = await Promise.all([
    Promise.all([
      stage.pull(`cached/manifests/${cached.manifest}`, [cached.manifest]),
      ...cached.blobs.map(async ({ digest }) => await stage.pullBlob('cached', digest)),
    ]),
    stage.pull('cached/manifests/v1', [cached.manifest, moved]),
    stage.pullBlob('cold', layer.digest),
    stage.pull(`cold/manifests/${cold.manifest}`, [cold.manifest]),
    stage.pull('cold/manifests/v2', [other.manifest]),
    Promise.all(Array.from({ length: 20 }, async () => await stage.pullBlob('cold', shared.digest))),
  ])
  return { byDigest, tag, blob, manifest, newTag, crowd }
}

async function warm(stage: Stage, image: Image): Promise<void> {
  if (!(await stage.pullImage(image))) throw new Error(`${stage.findings.target.id} cannot even pull`)
  await stage.stored(image)
}

/** How long a cached tag takes while nobody is there to be asked. */
export async function deadUpstream(findings: Findings): Promise<void> {
  const { timeouts, isQuick } = findings.scale
  const ask = async (trouble: Trouble): Promise<Wait> => await askTheDead(findings, trouble, { ...asking, timeouts })
  const times: Wait[] = []
  if (isQuick) times.push(...(await Promise.all([refused, blackHole, silent].map(ask))))
  else for (const trouble of [refused, blackHole, silent]) times.push(await ask(trouble))
  const how = isQuick ? ' (shorter timeouts)' : ''
  findings.note(
    'dead',
    times.map(({ text }) => text).join(' / ') + how,
    times.every(({ isFast }) => isFast),
  )
  const fresh = await askTheDead(findings, blackHole, {})
  findings.note('fresh', fresh.text, fresh.isFast)
}

interface Wait {
  readonly text: string
  readonly isFast: boolean
}

async function askTheDead(
  findings: Findings,
  trouble: Trouble,
  options: { readonly freshness?: string; readonly timeouts?: string | undefined },
): Promise<Wait> {
  await using stage = await Stage.open(findings, options)
  const image = await stage.origin.addImage('cached', 'v1', sizes)
  await warm(stage, image)
  await trouble.begin(stage)
  const took: number[] = []
  const { patience, deadTime } = findings.scale
  await stage.pull('cached/manifests/v1', [image.manifest])
  const end = performance.now() + deadTime
  do {
    const answer = await stage.pull('cached/manifests/v1', [image.manifest], { patience: Math.min(patience, 20_000) })
    took.push(answer.isRight ? answer.took : Infinity)
  } while (took.length < 200 && performance.now() < end && Number.isFinite(took.at(-1)))
  took.sort((one, other) => one - other)
  const p99 = took[Math.ceil(took.length * 0.99) - 1] ?? Infinity
  const text = Number.isFinite(p99) ? (p99 < 1000 ? `${p99.toFixed(0)} ms` : seconds(p99)) : 'not served'
  return { text: `${text} (${took.length} pulls)`, isFast: p99 <= 50 }
}

function slowest(answers: readonly Pulled[]): number {
  return Math.max(...answers.map(({ took }) => took))
}

/** What a client is told, in a few words. */
function said({ status, isRight, isWrong, complete, gaveUp, size, headers }: Pulled): string {
  if (isRight) return headers.has('warning') ? '200, stale' : '200'
  if (isWrong) return '**200, wrong bytes**'
  if (gaveUp) return status === 0 ? 'hangs' : `${status}, hangs`
  if (status === 0) return 'cut, no answer'
  if (status === 200) return `200, cut at ${size}`
  const again = headers.get('retry-after')
  return `${status}${again === undefined ? '' : ` after ${again} s`}${complete ? '' : ', cut'}`
}

function percent(part: number): string {
  return part === 1 ? '100 %' : `${(100 * part).toFixed(1)} %`
}

export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`
}

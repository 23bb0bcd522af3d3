// How cost grows with the number of stored objects: of a start, of answers, and of letting one go.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { table } from '../test/support/outside/measured-page.ts'
import { entrepot } from '../test/support/outside/mirrors.ts'
import { Arena, kibibyte, type Bench, type Blob } from './arena.ts'
import type { Target } from './client.ts'
import type { Loaded } from './load.ts'
import { startTimed, treeOf } from './starts.ts'
import { imageAt, objectsOfImage, taggedRepository, tidy, unmark, type StoredImage } from './tree.ts'

export const growthRows = {
  start: 'start to ready',
  firstHit: 'manifest and blob by digest, first time',
  hit: 'the same, again',
  miss: 'blob of 4 KiB that is not here',
  firstCatalog: 'first page of the catalog',
  catalog: 'a page of the catalog, anywhere',
  firstTags: 'first page of the tags of one repository',
  tags: 'a page of them, anywhere',
  eviction: 'eviction of one object',
} as const

export type GrowthRow = keyof typeof growthRows

/** Milliseconds, for each number of objects. */
export class Growth {
  readonly #values = new Map<GrowthRow, Map<number, number>>()

  note(row: GrowthRow, objects: number, milliseconds: number): void {
    const values = this.#values.get(row) ?? new Map<number, number>()
    this.#values.set(row, values.set(objects, milliseconds))
  }

  table(): string | undefined {
    const sizes = [...new Set([...this.#values.values()].flatMap((values) => [...values.keys()]))]
    if (sizes.length === 0) return undefined
    const lines = [...this.#values].map(([row, values]) => [
      growthRows[row],
      ...sizes.map((size) => values.get(size)?.toFixed(2) ?? '–'),
    ])
    return table(['milliseconds', ...sizes.map((size) => `${size.toLocaleString('en')} objects`)], lines)
  }
}

/** Requests of each kind. */
const asked = 200
const pageSize = 100

export async function growth(bench: Bench): Promise<void> {
  const { objects: most } = bench.scale
  for (const objects of [...[1000, 100_000].filter((count) => count < most), most]) {
    bench.say(`growth: ${objects} objects`)
    await using arena = await Arena.open(bench)
    const root = treeOf(arena, objects)
    await answers(arena, root, objects)
    await eviction(arena, root, objects)
  }
}

async function answers(arena: Arena, root: string, objects: number): Promise<void> {
  const { growth: found } = arena.bench
  const [mirror, seconds] = await startTimed(arena, entrepot, { root })
  found.note('start', objects, seconds * 1000)
  const ask = async (targets: readonly Target[]): Promise<Loaded> =>
    await arena.load.run({ url: mirror.url, targets, connections: 1, times: targets.length })
  const images = sample(objects)
  const hits = images.flatMap(({ repository, text, digest, blobs: [blob] }): Target[] => [
    { path: `/v2/${repository}/manifests/${digest}`, body: { text } },
    { path: `/v2/${repository}/blobs/${blob?.digest ?? ''}`, body: { text: blob?.text ?? '' } },
  ])
  found.note('firstHit', objects, (await ask(hits)).middle)
  found.note('hit', objects, (await ask(hits)).middle)
  const missing: Blob[] = []
  for (let count = 0; count < asked; count += 1) missing.push(await arena.addBlob(4 * kibibyte))
  found.note('miss', objects, (await ask(missing)).middle)
  const pages = (path: string, after: (image: StoredImage) => string): Target[] =>
    images.map((image) => ({ path: `${path}?n=${pageSize}&last=${after(image)}`, body: undefined }))
  const catalog = await ask(pages('/v2/_catalog', ({ repository }) => repository))
  found.note('firstCatalog', objects, catalog.first)
  found.note('catalog', objects, catalog.middle)
  const tags = await ask(pages(`/v2/${taggedRepository}/tags/list`, ({ tag }) => tag))
  found.note('firstTags', objects, tags.first)
  found.note('tags', objects, tags.middle)
  await mirror.process.stop()
  tidy(
    root,
    'app',
    missing.map(({ digest }) => digest),
  )
}

/** Images from all parts of the tree that are copies of an upstream's, in no order. */
function sample(objects: number): StoredImage[] {
  const images = objects / objectsOfImage
  return Array.from({ length: Math.min(asked / 2, images / 2) }, (_, number) =>
    imageAt((((number * 7919) % (images / 2)) * 2 + 1) % images),
  )
}

/** A byte is too much, and then a twentieth goes. */
async function eviction(arena: Arena, root: string, objects: number): Promise<void> {
  const images = Array.from({ length: objects / objectsOfImage }, (_, index) => imageAt(index))
  const stored = images
    .flatMap(({ text, blobs }) => [text, ...blobs.map((blob) => blob.text)])
    .reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const log = join(arena.folder.path, 'eviction.log')
  unmark(root)
  const mirror = await arena.mirror(entrepot, { root, cache: `{ maxsize: ${stored - 1} }`, log })
  const line = await evictedLine(log)
  arena.bench.growth.note('eviction', objects, line.ms / (line.images * objectsOfImage))
  await mirror.process.stop()
  tidy(root, 'app', [])
}

interface Evicted {
  readonly msg: string
  readonly images: number
  readonly ms: number
}

/** After the survey, which takes its time. @throws Error where nothing is evicted for too long */
async function evictedLine(log: string): Promise<Evicted> {
  for (let tries = 0; tries < 18_000; tries += 1) {
    const lines = (await readFile(log, 'utf8')).split('\n').filter((line) => line.includes('"evicted"'))
    const [line] = lines.map((text) => JSON.parse(text) as Evicted)
    if (line !== undefined) return line
    await sleep(100)
  }
  throw new Error(`nothing was evicted: ${(await readFile(log, 'utf8')).slice(-2000)}`)
}

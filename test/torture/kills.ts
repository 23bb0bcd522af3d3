// `kill -9` at random moments of fills, again and again on the same folder.
import { randomInt } from 'node:crypto'
import { readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Image } from '../support/outside/origin.ts'
import { until } from '../support/real-parts.ts'
import { Stage, type Findings, type Pulled } from './stage.ts'

/** One of them is answered when it is whole, the others as they come. */
const sizes = [2048, 512 * 1024, 2 * 1024 * 1024]
/** How fast the blobs of an image come: the largest takes a quarter of a second. */
const pace = { do: 'pace', bytesPerSecond: 8 * 1024 * 1024 } as const
/** An image is looked at again after so many kills, and then every so many. */
const recent = 5
const allEvery = 100

/** An object that a client has had whole. */
interface Had {
  readonly of: string
  readonly right: string
  readonly size: number
}

/** Folders that are killed in at the same time. */
const lanes = 4

interface Toll {
  readonly had: readonly Had[]
  /** URLs of objects that did not come, or came wrong. */
  readonly lost: ReadonlySet<string>
  readonly hands: number
  /** Bytes that were fetched again. */
  readonly again: number
  /** Bytes that dead processes have left: at first, and once swept. */
  readonly killed: number
  readonly left: number
}

export async function kills(findings: Findings): Promise<void> {
  const count = findings.scale.kills
  const counts = Array.from({ length: lanes }, (_, lane) => Math.floor((count + lane) / lanes))
  const tolls = await Promise.all(counts.map(async (each) => await killAgainAndAgain(findings, each)))
  const sum = (of: (toll: Toll) => number): number => tolls.reduce((total, toll) => total + of(toll), 0)
  const text = (of: (toll: Toll) => number): string => sum(of).toLocaleString('en')
  const lost = sum((toll) => toll.lost.size)
  const hands = sum((toll) => toll.hands)
  findings.note('lost', `${lost} of ${text(({ had }) => had.length)}, ${count} kills`, lost === 0)
  findings.note('hands', String(hands), hands === 0)
  findings.note('again', `${text(({ again }) => again)} of ${text(({ had }) => bytesOf(had))}`)
  const left = sum((toll) => toll.left)
  findings.note('orphans', `${text(({ killed }) => killed)}, then ${left.toLocaleString('en')}`, left === 0)
}

async function killAgainAndAgain(findings: Findings, count: number): Promise<Toll> {
  await using stage = await Stage.prepare(findings, { freshness: '0s' })
  const { origin } = stage
  const had: Had[][] = []
  const lost = new Set<string>()
  let hands = 0
  let again = 0
  const look = async (images: readonly (readonly Had[])[]): Promise<void> => {
    for (const { of, right } of images.flat()) {
      if (!(await stage.pull(of, [right])).isRight) lost.add(of)
    }
  }
  const start = async (): Promise<void> => {
    try {
      await stage.start()
    } catch (error) {
      hands += 1
      findings.say(`does not start: ${String(error).slice(0, 300)}`)
      await rm(join(stage.root, 'scheduler-state.json'), { force: true })
      await stage.start()
    }
  }
  for (let kill = 1; kill <= count; kill += 1) {
    await start()
    await origin.rules()
    await origin.forget()
    const images = kill % allEvery === 0 ? had : had.slice(-recent)
    await look(images)
    again += await fetchedAgain(stage, images.flat())
    const image = await origin.addImage(`app${kill}`, 'v1', sizes)
    await origin.rules({ path: '/blobs/', fault: pace })
    had.push(await pullUntilKilled(stage, image))
    if (kill % 50 === 0) findings.say(`${kill} of ${count} kills in one folder, ${lost.size} lost`)
  }
  const killed = await unfinished(stage)
  await start()
  await origin.rules()
  await look(had)
  await origin.down()
  await look(had)
  await stage.stop()
  await origin.up()
  return { had: had.flat(), lost, hands, again, killed, left: await sweep(stage, start) }
}

function bytesOf(objects: readonly Had[]): number {
  return objects.reduce((sum, { size }) => sum + size, 0)
}

/** Pulls an image as a client does, and kills the mirror when some byte of it has come, the last one too. */
async function pullUntilKilled(stage: Stage, { repository, tag, manifest, blobs }: Image): Promise<Had[]> {
  const objects: Had[] = []
  const note = (of: string, right: string, { isRight, size }: Pulled): void => {
    if (isRight) objects.push({ of, right, size })
  }
  let left = randomInt(blobs.reduce((sum, { size }) => sum + size, 0))
  const reached = Promise.withResolvers<void>()
  const onBytes = (count: number): void => {
    left -= count
    if (left < 0) reached.resolve()
  }
  const pulling = (async (): Promise<void> => {
    const byTag = `${repository}/manifests/${tag}`
    note(byTag, manifest, await stage.pull(byTag, [manifest]))
    const pullBlob = async (digest: string): Promise<void> =>
      note(`${repository}/blobs/${digest}`, digest, await stage.pullBlob(repository, digest, { onBytes }))
    await Promise.all(blobs.map(async ({ digest }) => await pullBlob(digest)))
  })()
  await Promise.race([reached.promise, pulling])
  await sleep(randomInt(30)) // what is whole is being stored
  await stage.stop('SIGKILL')
  await pulling.catch(() => {}) // the mirror was gone before it was asked
  return objects
}

/** Bytes that came over the wire for objects that a client has had. */
async function fetchedAgain({ origin }: Stage, objects: readonly Had[]): Promise<number> {
  const known = new Set(objects.map(({ of }) => `/v2/${of}`))
  const asked = await origin.asked('/blobs/')
  return asked.reduce((sum, { path, bytes }) => sum + (known.has(path) ? bytes : 0), 0)
}

async function unfinishedFiles({ root, findings }: Stage): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return files.filter((file) => findings.target.unfinished.some((place) => place.test(file.slice(root.length + 1))))
}

async function unfinished(stage: Stage): Promise<number> {
  const sizesOf = (await unfinishedFiles(stage)).map(
    async (file) => (await stat(file).catch(() => undefined))?.size ?? 0,
  )
  return (await Promise.all(sizesOf)).reduce((sum, size) => sum + size, 0)
}

/** Makes what is left a month old, starts the mirror, and gives it a moment. Resolves with the bytes that stay. */
async function sweep(stage: Stage, start: () => Promise<void>): Promise<number> {
  const old = new Date(Date.now() - 30 * 24 * 3_600_000)
  for (const file of await unfinishedFiles(stage)) {
    if (file.endsWith('/startedat')) await writeFile(file, old.toISOString().replace(/\.\d+Z$/, 'Z'))
    await utimes(file, old, old)
  }
  await start()
  await until('the sweep', async () => (await unfinished(stage)) === 0).catch(() => {}) // what stays is the finding
  return await unfinished(stage)
}

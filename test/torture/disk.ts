// What happens on the mirror's own disk: damage from outside, a full disk, empty files, and starts without an upstream.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rm, statfs, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Image } from '../support/outside/origin.ts'
import { Stage, type Findings } from './stage.ts'

const mebibyte = 1024 * 1024
const sizes = [4096, mebibyte]

type Damage = (file: string) => Promise<void>

function flip(place: (size: number) => number): Damage {
  return async (file) => {
    await using handle = await open(file, 'r+')
    const at = place((await handle.stat()).size)
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at)
    await handle.write(Buffer.of(buffer.readUInt8() ^ 1), 0, 1, at)
  }
}

const damages: readonly Damage[] = [
  flip(() => 0),
  flip((size) => Math.floor(size / 2)),
  flip((size) => size - 1),
  async (file) => await truncate(file, mebibyte / 2),
  async (file) => await truncate(file, 0),
  async (file) => await rm(file),
]

/** How long an upstream that is back may be taken for dead, in milliseconds: the longest that a breaker stays open, and more. */
const recovery = 45_000

/** Pulls as a client does that comes again, until it gets the layer twice. */
async function isRightSoon(stage: Stage, image: Image): Promise<boolean> {
  const began = performance.now()
  do {
    const first = await stage.pullBlob(image.repository, layerOf(image))
    const second = await stage.pullBlob(image.repository, layerOf(image))
    if (first.isRight && second.isRight) return true
    await sleep(500)
  } while (performance.now() - began < recovery)
  return false
}

export async function damage(findings: Findings): Promise<void> {
  let wrong = 0
  let found = 0
  let healed = 0
  for (const isRunning of [true, false]) {
    await using stage = await Stage.open(findings)
    const { origin } = stage
    const images: Image[] = []
    for (const index of damages.keys()) images.push(await origin.addImage(`app${index}`, 'v1', sizes))
    for (const image of images) {
      await stage.pullImage(image)
      await stage.stored(image)
      if (isRunning) await stage.pullImage(image) // from the store: known as right
    }
    if (!isRunning) await stage.stop()
    for (const [index, image] of images.entries()) await damages[index]?.(stage.fileOf(layerOf(image)))
    await origin.down()
    if (!isRunning) await stage.start().catch(async () => await startWithUpstream(stage))
    for (const image of images) {
      const answer = await stage.pullBlob(image.repository, layerOf(image))
      if (answer.isWrong) wrong += 1
      else found += 1
    }
    await origin.up()
    for (const image of images) {
      const isRight = await isRightSoon(stage, image)
      if (isRight && (await isHealed(stage.fileOf(layerOf(image)), layerOf(image)))) healed += 1
    }
  }
  const all = 2 * damages.length
  findings.note('found', `${wrong} / ${found} of ${all}`, found === all)
  findings.note('healed', `${healed} of ${all}`, healed === all)
}

function layerOf({ blobs }: Image): string {
  return blobs[1]?.digest ?? ''
}

async function startWithUpstream(stage: Stage): Promise<void> {
  await stage.origin.up()
  await stage.start()
  await stage.origin.down()
}

/** Looks for a second: the bytes may be on their way. */
async function isHealed(file: string, digest: string): Promise<boolean> {
  for (let tries = 0; tries < 20; tries += 1) {
    if (
      existsSync(file) &&
      `sha256:${createHash('sha256')
        .update(await readFile(file))
        .digest('hex')}` === digest
    )
      return true
    await sleep(50)
  }
  return false
}

export async function starts(findings: Findings): Promise<void> {
  await startWithoutUpstream(findings)
  await using stage = await Stage.open(findings, { freshness: '0s' })
  const image = await stage.origin.addImage('app', 'v1', sizes)
  await stage.pullImage(image)
  await stage.stored(image)
  await sleep(findings.target.id === 'entrepot' ? 0 : 6000) // the peer writes its state every five seconds
  await stage.stop()
  const { state } = findings.target
  const entries = await readdir(stage.root, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const own = files.filter((file) => state.test(file.slice(stage.root.length + 1)))
  for (const file of own) await truncate(file, 0)
  const many = `${own.length} ${own.length === 1 ? 'file' : 'files'}`
  try {
    await stage.start()
    const isServed = await stage.pullImage(image)
    findings.note('state', `${isServed ? 'yes' : 'yes, but does not serve'} (${many})`, isServed)
  } catch (error) {
    findings.note('state', `no (${many}): ${firstLine(error)}`, false)
  }
}

async function startWithoutUpstream(findings: Findings): Promise<void> {
  await using stage = await Stage.prepare(findings, { credentials: { username: 'alice', password: 'secret' } })
  await stage.origin.down()
  try {
    await stage.start()
    const { ok } = await fetch(`${stage.mirror.url}/v2/`)
    findings.note('start', 'yes', ok)
  } catch (error) {
    findings.note('start', `no: ${firstLine(error)}`, false)
  }
}

/** What a program that did not start said: its last words tell most. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return /^panic: .*$/m.exec(text)?.[0].slice(0, 120) ?? 'it ends'
}

/** Why there can be no small disk here, or `false`. */
export const noSmallDisk: string | false =
  process.platform !== 'linux' || process.getuid?.() !== 0 ? 'not measured: only root may mount a tmpfs' : false

export async function fullDisk(findings: Findings): Promise<void> {
  if (noSmallDisk !== false) {
    findings.note('full', noSmallDisk)
    findings.note('full2', noSmallDisk)
    return
  }
  const command = promisify(execFile)
  await using stage = await Stage.prepare(findings, { root: 'disk' })
  await mkdir(stage.root)
  try {
    await command('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', stage.root])
  } catch {
    findings.note('full', 'not measured: no tmpfs can be mounted here')
    return
  }
  try {
    await stage.start()
    const image = await stage.origin.addImage('app', 'v1', sizes)
    await stage.pullImage(image)
    await stage.stored(image)
    const before = await used(stage.root)
    const large = await stage.origin.addBlob('app', 16 * mebibyte)
    const answer = await stage.pullBlob('app', large.digest)
    await sleep(2000)
    const after = await used(stage.root)
    const got = answer.isRight ? 'whole' : answer.isWrong ? 'wrong bytes' : `cut at ${answer.size}`
    const isFreed = after < before + mebibyte / 2
    findings.note(
      'full',
      `${got}, ${(before / mebibyte).toFixed(1)} → ${(after / mebibyte).toFixed(1)} MiB of 8 used`,
      answer.isRight && isFreed,
    )
    const isServed = await stage.pullImage(image)
    findings.note('full2', isServed ? 'served' : 'not served', isServed)
  } finally {
    await stage.stop('SIGKILL')
    await command('umount', [stage.root])
  }
}

async function used(folder: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(folder)
  return (blocks - bfree) * bsize
}

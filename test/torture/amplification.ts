// How often one object is fetched, and what that costs in memory: many clients, large blobs, clients that leave.
import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { lightPull } from '../support/light-client.ts'
import type { Part } from '../support/outside/objects.ts'
import { memoryOf, openFiles, resetPeak } from '../support/outside/proc.ts'
import type { RowId } from './rows.ts'
import { Stage, type Findings } from './stage.ts'

const mebibyte = 1024 * 1024

export async function amplification(findings: Findings): Promise<void> {
  for (const [row, count] of [
    ['one', 1],
    ['twenty', 20],
    ['thousand', 1000],
  ] as const)
    await share(findings, row, count)
  await breakOnce(findings)
}

/** Whether the system says how much memory a process has. */
const isKnown = process.platform === 'linux'

/** Clients that have all asked before the origin has sent more than the beginning. */
async function share(findings: Findings, row: RowId, count: number): Promise<void> {
  await using stage = await Stage.open(findings)
  const { origin, mirror } = stage
  const blob = await origin.addBlob('app', findings.scale.shared)
  await origin.rules({ path: blob.digest, fault: { do: 'hold', at: { byte: 64 * 1024 } } })
  if (isKnown) await resetPeak(mirror.process.pid)
  const url = stage.urlOf(`app/blobs/${blob.digest}`)
  const clients = Array.from({ length: count }, () => lightPull(url, { patience: 300_000 }))
  await Promise.all(clients.map(async ({ begun }) => await begun.catch(() => {}))) // whoever gets none shows below
  await sleep(500) // the peer asks once more, for its store
  await origin.release()
  const answers = await Promise.all(clients.map(async ({ done }) => findings.judge(url, await done, [blob.digest])))
  const right = answers.filter(({ isRight }) => isRight).length
  const peak = isKnown ? (await memoryOf(mirror.process.pid)).peak : 0
  await sleep(500)
  const { requests, bytes } = await costOf(stage, blob)
  const but = right === count ? '' : `; ${count - right} clients without the blob`
  findings.note(row, `${requests}, ${bytes.toFixed(2)}${but}`, requests === 1 && bytes <= 1.005 && right === count)
  if (count === 1000 && isKnown) {
    findings.note('streams', `${inMebibytes(peak)} (blob of ${inMebibytes(blob.size)})`, peak <= 256 * mebibyte)
  }
}

async function costOf({ origin }: Stage, { digest, size }: Part): Promise<{ requests: number; bytes: number }> {
  const gets = (await origin.asked(digest)).filter(({ method }) => method === 'GET')
  return { requests: gets.length, bytes: gets.reduce((sum, { bytes }) => sum + bytes, 0) / size }
}

async function breakOnce(findings: Findings): Promise<void> {
  await using stage = await Stage.open(findings)
  const { origin } = stage
  const blob = await origin.addBlob('app', 4 * mebibyte)
  await origin.rules({ path: blob.digest, fault: { do: 'cut', at: { part: 0.5 }, by: 'FIN' }, times: 1 })
  const answer = await stage.pullBlob('app', blob.digest)
  await sleep(500)
  const { bytes } = await costOf(stage, blob)
  const got = answer.isRight ? 'whole' : answer.isWrong ? 'wrong bytes' : `cut at ${answer.size}`
  findings.note('broken', `${got}, ${bytes.toFixed(2)}`, answer.isRight && bytes <= 1.005)
}

export async function memory(findings: Findings): Promise<void> {
  if (!isKnown) return
  await hugeManifest(findings)
  const { large: size } = findings.scale
  const small = await usualPeak(findings, 16 * mebibyte)
  const large = await usualPeak(findings, size)
  const text = `${inMebibytes(small)} for 16 MiB, ${inMebibytes(large)} for ${inMebibytes(size)}`
  findings.note('slope', text, large <= small * 1.1)
  await hangUps(findings)
}

async function hugeManifest(findings: Findings): Promise<void> {
  await using stage = await Stage.open(findings)
  const manifest = await stage.origin.addHugeManifest('app', 'huge', 100 * mebibyte)
  const { status } = await stage.pull('app/manifests/huge', [manifest], { patience: 120_000 })
  const { peak } = await memoryOf(stage.mirror.process.pid)
  findings.note('huge', `${inMebibytes(peak)} (answered ${status})`, peak <= 256 * mebibyte)
}

/** The middle of three: when garbage is collected is a matter of luck. */
async function usualPeak(findings: Findings, size: number): Promise<number> {
  const peaks: number[] = []
  for (let time = 0; time < (findings.scale.isQuick ? 1 : 3); time += 1) peaks.push(await peakOf(findings, size))
  return peaks.toSorted((one, other) => one - other)[Math.floor(peaks.length / 2)] ?? NaN
}

async function peakOf(findings: Findings, size: number): Promise<number> {
  await using stage = await Stage.open(findings)
  const { digest } = await stage.origin.addBlob('app', size)
  await stage.pullBlob('app', digest, { patience: 300_000 })
  return (await memoryOf(stage.mirror.process.pid)).peak
}

/** Clients that hang up at a random byte, two hundred at a time. */
async function hangUps(findings: Findings): Promise<void> {
  await using stage = await Stage.open(findings)
  const { origin, mirror } = stage
  const size = 256 * 1024
  const warm = await origin.addBlob('app', size)
  await stage.pullBlob('app', warm.digest)
  const { pid } = mirror.process
  const leave = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 200) {
      const cold = await origin.addBlob('app', size)
      const half = (digest: string): Promise<unknown>[] =>
        Array.from({ length: Math.min(100, left) }, async () => {
          const url = stage.urlOf(`app/blobs/${digest}`)
          return await lightPull(url, { hangUpAfter: randomInt(size), patience: 5000 }).done
        })
      await Promise.all([...half(warm.digest), ...half(cold.digest)])
    }
  }
  const { aborts } = findings.scale
  await leave(Math.max(500, aborts / 10))
  await sleep(3000)
  const before = { files: await openFiles(pid), ...(await memoryOf(pid)) }
  await leave(aborts)
  const end = performance.now() + 60_000
  while ((await openFiles(pid)) > before.files + 2 && performance.now() < end) await sleep(500)
  await sleep(2000)
  const files = await openFiles(pid)
  const { now } = await memoryOf(pid)
  findings.note('files', `${before.files} → ${files} (${aborts} clients)`, Math.abs(files - before.files) <= 2)
  findings.note('leak', `${inMebibytes(before.now)} → ${inMebibytes(now)}`, now <= before.now * 1.05)
}

function inMebibytes(bytes: number): string {
  return `${(bytes / mebibyte).toFixed(0)} MiB`
}

// Many clients at once: a thousand on one blob, and one small request among large pulls.
import { memoryOf, resetPeak } from '../test/support/outside/proc.ts'
import { Arena, kibibyte, mebibyte, quiet, type Bench, type Blob, type Contestant } from './arena.ts'

const crowdSize = 1000
const largePulls = 50

/** Those who want something small meanwhile: a hundred requests a second, however long the answers take. */
const smallPulls = { connections: 20, every: 200 }

/** Whether the system says how much memory a process has. */
const isKnown = process.platform === 'linux'

/**
 * All of them have asked, and have the head of their answer, before the origin sends more than the beginning. Resolves with
 * the seconds from then on until the last has everything.
 */
async function pullTogether(arena: Arena, { url, pid }: Contestant, blob: Blob, count: number): Promise<number> {
  await arena.origin.rules({ path: blob.digest, fault: { do: 'hold', at: { byte: 64 * kibibyte } } })
  const loading = arena.load.begin({ url, targets: [blob], connections: count, times: 1 })
  await Promise.race([loading.begun, loading.done])
  const began = performance.now()
  await arena.origin.release()
  await loading.done
  const seconds = (performance.now() - began) / 1000
  await quiet(pid)
  await arena.origin.rules()
  return seconds
}

export async function crowd(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const { results, scale } = bench
  const cached = await arena.addBlob(scale.shared)
  const mirrors = await arena.mirrors()
  const [nginx] = await arena.nginx(cached)
  await arena.warm([...mirrors, ...(nginx === undefined ? [] : [nginx])], [cached])
  await arena.interleave(mirrors, async (mirror) => {
    const { column, pid } = mirror
    if (column === 'entrepot') {
      const alone = await pullTogether(arena, mirror, await arena.addBlob(scale.shared), 1)
      results.note(
        'crowd',
        'yardstick',
        Math.max(alone, nginx === undefined ? 0 : await sendToAll(arena, nginx, cached)),
      )
    }
    const blob = await arena.addBlob(scale.shared)
    if (isKnown) await resetPeak(pid)
    results.note('crowd', column, await pullTogether(arena, mirror, blob, crowdSize))
    if (isKnown) results.note('streams', column, (await memoryOf(pid)).peak / mebibyte)
    results.note('shared', column, await arena.transfers(blob))
  })
}

/** The line rate: what the machine needs to send one file to all of them. */
async function sendToAll(arena: Arena, { url }: Contestant, blob: Blob): Promise<number> {
  return (await arena.load.run({ url, targets: [blob], connections: crowdSize, times: 1 })).seconds
}

export async function latency(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const { byDigest } = await arena.addManifest()
  const blob = await arena.addBlob(bench.scale.large)
  const contestants = [...(await arena.mirrors()), ...(await arena.nginx(byDigest, blob))]
  await arena.warm(contestants, [byDigest, blob])
  for (const { url } of contestants) await arena.load.run({ url, targets: [byDigest], connections: 4, times: 100 })
  await arena.interleave(contestants, async ({ column, url }) => {
    await using crowded = arena.clients()
    const pulling = crowded.begin({ url, targets: [blob], connections: largePulls })
    await Promise.race([pulling.begun, pulling.done])
    const { seconds } = bench.scale
    const asking = arena.load.run({ url, targets: [byDigest], ...smallPulls, seconds })
    const { p99 } = await Promise.race([asking, pulling.done]) // the pulls end only where they fail
    bench.results.note('latency', column, p99)
  })
}

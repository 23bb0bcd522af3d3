// What is cached: small objects by the thousand, large ones by the gigabyte.
import { cpuOf } from '../test/support/outside/proc.ts'
import { Arena, kibibyte, mebibyte, type Bench } from './arena.ts'
import type { RowId } from './rows.ts'
import { requestRate } from './wrk.ts'

export async function small(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const { byDigest, byTag } = await arena.addManifest()
  const works = [
    ['digest', byDigest],
    ['tag', byTag],
    ['small', await arena.addBlob(4 * kibibyte)],
    ['medium', await arena.addBlob(64 * kibibyte)],
  ] as const
  const targets = works.map(([, target]) => target)
  const contestants = [...(await arena.mirrors()), ...(await arena.nginx(...targets))]
  await arena.warm(contestants, targets)
  // Compilers, theirs and ours, have seen the work before it is measured.
  for (const { url } of contestants) await requestRate(arena.folder, arena.load, url, byDigest, 1)
  for (const [row, target] of works) {
    await arena.interleave(contestants, async ({ column, url }) => {
      const rate = await requestRate(arena.folder, arena.load, url, target, bench.scale.seconds)
      bench.results.note(row, column, rate)
    })
    bench.say(row)
  }
}

export async function throughput(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const { large } = bench.scale
  const works: readonly { row: RowId; size: number; connections: number; times: number }[] = [
    { row: 'mebibyte', size: mebibyte, connections: 8, times: large / (2 * mebibyte) },
    { row: 'large', size: large, connections: 2, times: 2 },
  ]
  const blobs = []
  for (const { size } of works) blobs.push(await arena.addBlob(size))
  const contestants = [...(await arena.mirrors()), ...(await arena.nginx(...blobs))]
  await arena.warm(contestants, blobs)
  // As above: compilers have seen the work.
  for (const { url } of contestants)
    await arena.load.run({ url, targets: blobs.slice(0, 1), connections: 8, seconds: 2 })
  for (const [index, { row, connections, times }] of works.entries()) {
    const targets = blobs.slice(index, index + 1)
    await arena.interleave(contestants, async ({ column, url, pid }) => {
      const before = await cpuOf(pid)
      const { bytes, seconds } = await arena.load.run({ url, targets, connections, times })
      bench.results.note(row, column, bytes / 1e9 / seconds)
      if (row === 'large') bench.results.note('cpu', column, ((await cpuOf(pid)) - before) / (bytes / 1e9))
    })
    bench.say(row)
  }
}

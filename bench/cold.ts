// What is not cached: one client, one large blob, and an origin that is as fast as it can, a line, or slow per connection.
import { entrepot } from '../test/support/outside/mirrors.ts'
import type { Fault } from '../test/support/outside/faults.ts'
import { Arena, mebibyte, quiet, type Bench, type Blob, type Contestant } from './arena.ts'
import type { Loaded } from './load.ts'

/** Of the blob that each has pulled before anything is measured, so that compilers have seen the work. */
const before = 16 * mebibyte

/** A blob that nobody has yet, pulled once. */
async function pullCold(arena: Arena, { url }: Contestant, size: number): Promise<[Loaded, Blob]> {
  const blob = await arena.addBlob(size)
  return [await arena.load.run({ url, targets: [blob], connections: 1, times: 1 }), blob]
}

export async function cold(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const contestants = [...(await arena.mirrors()), arena.direct]
  for (const contestant of contestants) await pullCold(arena, contestant, before)
  await arena.interleave(contestants, async (contestant) => {
    const [{ seconds }, blob] = await pullCold(arena, contestant, bench.scale.large)
    bench.results.note('cold', contestant.column, seconds)
    if (contestant.pid === 0) return
    await quiet(contestant.pid) // what is asked for a second time comes behind
    bench.results.note('transfers', contestant.column, await arena.transfers(blob))
  })
}

export async function gigabit(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const contestants = [...(await arena.mirrors()), arena.direct]
  for (const contestant of contestants) await pullCold(arena, contestant, before)
  const line: Fault = { do: 'pace', bytesPerSecond: 125e6, shared: true }
  await arena.origin.fault(line)
  await arena.interleave(contestants, async (contestant) => {
    const [{ seconds, firstByte }] = await pullCold(arena, contestant, bench.scale.large)
    bench.results.note('gigabit', contestant.column, seconds)
    bench.results.note('first', contestant.column, firstByte)
  })
}

export async function throttled(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const { url, process } = await arena.mirror(entrepot, { fill: '{ connections: 4 }' })
  const contestants: readonly Contestant[] = [{ column: 'entrepot', url, pid: process.pid }, arena.direct]
  for (const contestant of contestants) await pullCold(arena, contestant, before)
  await arena.origin.fault({ do: 'pace', bytesPerSecond: 32 * mebibyte })
  await arena.interleave(contestants, async (contestant) => {
    const [{ seconds }] = await pullCold(arena, contestant, bench.scale.large)
    bench.results.note('throttled', contestant.column, seconds)
  })
}

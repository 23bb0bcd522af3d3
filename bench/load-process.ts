// The clients, in a process of their own: what they cost is not the server's.
import { percentile } from './statistics.ts'
import { Connection } from './client.ts'
import type { Job, Loaded } from './load.ts'

async function load(id: number, { url, targets, connections, times, seconds }: Job): Promise<Loaded> {
  const began = performance.now()
  const end = seconds === undefined ? Infinity : began + seconds * 1000
  const took: number[] = []
  let bytes = 0
  let firstByte = Infinity
  let next = 0
  let left = connections
  const onBegun = (): void => {
    left -= 1
    if (left === 0) process.send?.({ id, begun: true })
  }
  const work = async (): Promise<void> => {
    using connection = await Connection.open(url)
    for (let time = 0; time < (times ?? Infinity) && performance.now() < end; time += 1) {
      const target = targets[next++ % targets.length]
      if (target === undefined) return
      const answer = await connection.get(target, time === 0 ? onBegun : undefined)
      took.push(answer.took)
      bytes += answer.size
      firstByte = Math.min(firstByte, answer.firstByte)
    }
  }
  await Promise.all(Array.from({ length: connections }, work))
  const all = took.toSorted((one, other) => one - other)
  return {
    answers: all.length,
    bytes,
    seconds: (performance.now() - began) / 1000,
    firstByte,
    middle: percentile(all, 0.5),
    p99: percentile(all, 0.99),
    first: took[0] ?? NaN,
  }
}

process.on('message', ({ id, job }: { id: number; job: Job }) => {
  void load(id, job).then(
    (loaded) => process.send?.({ id, loaded }),
    (error: unknown) => process.send?.({ id, error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))

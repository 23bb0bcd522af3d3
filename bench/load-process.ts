// The clients, in a process of their own: what they cost is not the server's.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { percentile } from './statistics.ts'
import { Connection, trusting } from './client.ts'
import type { Job, Loaded } from './load.ts'

const [, , authority] = process.argv
const context = authority === undefined ? undefined : trusting(readFileSync(authority, 'utf8'))

async function load(id: number, { url, targets, connections, times, seconds, every }: Job): Promise<Loaded> {
  const began = performance.now()
  const end = seconds === undefined ? Infinity : began + seconds * 1000
  const took: number[] = []
  let bytes = 0
  let headSize = 0
  let firstByte = Infinity
  let next = 0
  let left = connections
  const onBegun = (): void => {
    left -= 1
    if (left === 0) process.send?.({ id, begun: true })
  }
  const work = async (_: unknown, index: number): Promise<void> => {
    using connection = await Connection.open(url, context)
    const first = performance.now() + (index / connections) * (every ?? 0)
    for (let time = 0; time < (times ?? Infinity); time += 1) {
      const now = performance.now()
      const due = every === undefined ? now : first + time * every
      if (due >= end) return
      if (due > now) await sleep(due - now)
      const target = targets[next++ % targets.length]
      if (target === undefined) return
      const answer = await connection.get(target, time === 0 ? onBegun : undefined)
      took.push(Math.max(0, now - due) + answer.took)
      bytes += answer.size
      headSize = answer.headSize
      firstByte = Math.min(firstByte, answer.firstByte)
    }
  }
  await Promise.all(Array.from({ length: connections }, work))
  const all = took.toSorted((one, other) => one - other)
  return {
    answers: all.length,
    bytes,
    headSize,
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

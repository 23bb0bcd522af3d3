// From the start of the process to its first answer, with nothing stored and with much; and what it holds when it idles.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryOf } from '../test/support/outside/proc.ts'
import type { Mirror, MirrorOptions, MirrorProgram } from '../test/support/outside/mirrors.ts'
import { Arena, mebibyte, quiet, type Bench } from './arena.ts'
import { makeTree } from './tree.ts'

export async function idle(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  for (let run = 0; run < bench.scale.runs; run += 1) {
    for (const [column, program] of arena.programs) {
      const [mirror] = await startTimed(arena, program)
      const { pid } = mirror.process
      await sleep(1000)
      await quiet(pid)
      if (process.platform === 'linux') bench.results.note('idle', column, (await memoryOf(pid)).now / mebibyte)
      await mirror.process.stop()
    }
  }
}

/** Resolves with the mirror, and with the seconds until it answered. */
export async function startTimed(
  arena: Arena,
  program: MirrorProgram,
  options: Partial<MirrorOptions> = {},
): Promise<[Mirror, number]> {
  const began = performance.now()
  const mirror = await arena.mirror(program, options)
  await arena.load.run({ url: mirror.url, targets: [{ path: '/v2/', body: undefined }], connections: 1, times: 1 })
  return [mirror, (performance.now() - began) / 1000]
}

export async function start(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const root = treeOf(arena, bench.scale.objects)
  for (const [row, options] of [
    ['start', {}],
    ['startFull', { root }],
  ] as const) {
    for (let run = 0; run < bench.scale.runs; run += 1) {
      for (const [column, program] of arena.programs) {
        const [mirror, seconds] = await startTimed(arena, program, options)
        bench.results.note(row, column, seconds)
        await mirror.process.stop()
      }
    }
    bench.say(row)
  }
}

/** A folder with so many objects: in the one that is kept, or in the arena's own. */
export function treeOf({ bench, folder }: Arena, objects: number): string {
  const root = join(bench.scale.folder ?? folder.path, `objects-${objects}`)
  makeTree(root, objects, (text) => bench.say(text))
  return root
}

// What many clients have left behind goes back to the system once nobody is served. V8 does so by itself only where more is
// allocated; kept on a short leash instead (`--heap-growing-percent`), it marks the whole heap for every few megabytes that
// a blob's buffers take, which costs more than the transfer. The C library gives back only what lies at its memory's end.
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Logger } from '../telemetry/logger.ts'
import type { MallocTrim } from './malloc-trim.ts'

/** The event loop's share of the time since the last look: below it nobody is served who could notice the pause. */
const idle = 0.02

/** Growth of the heap that is worth a collection, of tens of milliseconds: a part of what was left of the last one. */
const growth = 0.2

/** Bytes outside of the heap, beyond the fewest so far, that are worth looking through for what is free; in so many looks once. */
const trimming = { bytes: 32 * 1024 * 1024, every: 5 }

export interface Memory {
  /** Bytes of the heap's pages and of buffers beside them. */
  readonly heap: () => number
  /** Bytes of all else. */
  readonly outside: () => number
  /** The event loop's share of the time since this was last asked, 0 to 1. */
  readonly utilization: () => number
  /** Gives back all of the heap that can be. */
  readonly collect: () => void
  /** Gives back what is free outside of it. */
  readonly trim: () => Promise<void>
}

/** Collects where nobody is served and the heap has grown, and trims where all else has. */
export class IdleMemory {
  readonly #memory: Memory
  /** What was left by the last collection. */
  #left = 0
  /** The fewest bytes outside of the heap. */
  #least: number
  /** Looks until it may be trimmed again: connections that are kept open let go of what they have when they close. */
  #rest = 0

  constructor(memory: Memory) {
    this.#memory = memory
    this.#least = memory.outside()
  }

  async look(): Promise<void> {
    const memory = this.#memory
    if (memory.utilization() > idle) return
    if (memory.heap() >= this.#left * (1 + growth)) {
      memory.collect()
      this.#left = memory.heap()
    }
    const outside = memory.outside()
    this.#least = Math.min(this.#least, outside)
    this.#rest -= 1
    if (this.#rest > 0 || outside < this.#least + trimming.bytes) return
    this.#rest = trimming.every
    await memory.trim()
  }
}

/** Looks at the memory of this process every `period` milliseconds until it is disposed; keeps no process alive. */
export function giveBackWhenIdle(logger: Logger, period: number = 1000): Disposable {
  let before = performance.eventLoopUtilization()
  let collect: ((options: object) => void) | undefined
  let trim: MallocTrim | undefined
  const heap = (): number => {
    const { total_heap_size: pages, external_memory: buffers } = getHeapStatistics()
    return pages + buffers
  }
  const memory = new IdleMemory({
    heap,
    outside: () => process.memoryUsage.rss() - heap(),
    utilization: () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      return utilization
    },
    collect: () => {
      collect ??= exposedCollector()
      collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    },
    trim: async () => {
      trim ??= await loadTrim(logger)
      trim()
    },
  })
  const timer = setInterval(() => void memory.look(), period).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Loaded where there is something to give back. Where it cannot be, the log says so, and nothing is given back. */
async function loadTrim(logger: Logger): Promise<MallocTrim> {
  try {
    const { loadMallocTrim } = await import('./malloc-trim.ts')
    return await loadMallocTrim()
  } catch (error) {
    logger.info({ error }, 'memory that lies free is kept for the clients to come')
    return () => {}
  }
}

/** What `--expose-gc` gives to contexts that are made after it. */
function exposedCollector(): (options: object) => void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc !== 'function') throw new Error('this engine exposes no collector')
  return (options) => void Reflect.apply(gc, undefined, [options])
}

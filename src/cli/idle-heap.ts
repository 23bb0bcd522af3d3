// What many clients have left behind goes back to the system once nobody is served. V8 does so by itself only where more is
// allocated; kept on a short leash instead (`--heap-growing-percent`), it marks the whole heap for every few megabytes that
// a blob's buffers take, which costs more than the transfer.
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** The event loop's share of the time since the last look: below it nobody is served who could notice the pause. */
const idle = 0.02

/** Growth that is worth a collection, of tens of milliseconds: a part of what was left of the last one. */
const growth = 0.2

export interface Heap {
  /** Bytes of pages and of buffers beside them. */
  readonly size: () => number
  /** The event loop's share of the time since this was last asked, 0 to 1. */
  readonly utilization: () => number
  /** Gives back all that can be. */
  readonly collect: () => void
}

/** Collects where nobody is served and the heap has grown. */
export class IdleHeap {
  readonly #heap: Heap
  /** What was left by the last collection. */
  #left = 0

  constructor(heap: Heap) {
    this.#heap = heap
  }

  look(): void {
    if (this.#heap.utilization() > idle || this.#heap.size() < this.#left * (1 + growth)) return
    this.#heap.collect()
    this.#left = this.#heap.size()
  }
}

/** Looks at the heap of this process every `period` milliseconds until it is disposed; keeps no process alive. */
export function collectWhenIdle(period: number = 1000): Disposable {
  let before = performance.eventLoopUtilization()
  let collect: ((options: object) => void) | undefined
  const heap = new IdleHeap({
    size: () => {
      const { total_heap_size: pages, external_memory: buffers } = getHeapStatistics()
      return pages + buffers
    },
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
  })
  const timer = setInterval(() => heap.look(), period).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** What `--expose-gc` gives to contexts that are made after it. */
function exposedCollector(): (options: object) => void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc !== 'function') throw new Error('this engine exposes no collector')
  return (options) => void Reflect.apply(gc, undefined, [options])
}

// Memory goes back to the system once nobody is served, and nobody who is served waits for that.
import assert from 'node:assert/strict'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { test } from 'node:test'
import { setInterval as ticks } from 'node:timers/promises'
import { giveBackWhenIdle, IdleMemory, type Memory } from '../../src/cli/idle-memory.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'

const mebibyte = 1024 * 1024

interface MemoryUnderTest {
  heap: number
  outside: number
  utilization: number
  collections: number
  trims: number
  /** Bytes that a trim gives back. */
  free: number
  readonly look: () => Promise<void>
}

function memoryOf(heap: number, outside = 0): MemoryUnderTest {
  const state = { heap, outside, utilization: 0, collections: 0, trims: 0, free: 0 }
  const seen: Memory = {
    heap: () => state.heap,
    outside: () => state.outside,
    utilization: () => state.utilization,
    collect: () => {
      state.collections += 1
      state.heap = 30 * mebibyte
    },
    trim: async () => {
      await Promise.resolve()
      state.trims += 1
      state.outside -= state.free
      state.free = 0
    },
  }
  const memory = new IdleMemory(seen)
  return Object.assign(state, { look: async () => await memory.look() })
}

test('a heap that has grown is collected once nobody is served', async () => {
  const memory = memoryOf(60 * mebibyte)
  memory.utilization = 0.5
  await memory.look()
  assert.equal(memory.collections, 0, 'somebody is served')
  memory.utilization = 0
  await memory.look()
  assert.equal(memory.collections, 1)
  await memory.look()
  assert.equal(memory.collections, 1, 'nothing has come since')
  memory.heap = 35 * mebibyte
  await memory.look()
  assert.equal(memory.collections, 1, 'too little has come')
  memory.heap = 50 * mebibyte
  await memory.look()
  assert.equal(memory.collections, 2)
  assert.equal(memory.trims, 0)
})

test('what is free outside of the heap is given back once nobody is served, also when it becomes free later', async () => {
  const memory = memoryOf(30 * mebibyte, 60 * mebibyte)
  memory.outside = 200 * mebibyte
  memory.utilization = 0.5
  await memory.look()
  assert.equal(memory.trims, 0, 'somebody is served')
  memory.utilization = 0
  memory.free = 10 * mebibyte
  await memory.look()
  assert.deepEqual([memory.trims, memory.outside], [1, 190 * mebibyte], 'the rest is still in use')
  memory.free = 120 * mebibyte
  await memory.look()
  assert.equal(memory.trims, 1, 'not all the time')
  for (let looks = 0; looks < 5; looks += 1) await memory.look()
  assert.deepEqual([memory.trims, memory.outside], [2, 70 * mebibyte])
  for (let looks = 0; looks < 100; looks += 1) await memory.look()
  assert.equal(memory.trims, 2, 'so little is not worth it')
})

const report: { header?: { glibcVersionRuntime?: string } } = process.report.getReport()
const noTrim = report.header?.glibcVersionRuntime === undefined && 'needs the GNU C library'

test('what lies free between other memory of an idle process goes back to the system', { skip: noTrim }, async () => {
  using _ = giveBackWhenIdle(silentLogger, 20)
  const all = Array.from({ length: 4096 }, () => Buffer.allocUnsafeSlow(32 * 1024).fill(1))
  const kept = all.splice(-64) // at the end: what lies there the C library gives back by itself
  all.length = 0
  const full = process.memoryUsage.rss()
  for await (const memory of ticks(20, process.memoryUsage)) if (memory.rss() < full - 64 * mebibyte) break
  assert.ok(kept.every((buffer) => buffer.every((byte) => byte === 1)))
})

test('the heap of an idle process is collected', async () => {
  const collected = Promise.withResolvers<void>()
  const observer = new PerformanceObserver((list) => {
    if (list.getEntries().some(isMajor)) collected.resolve()
  })
  observer.observe({ entryTypes: ['gc'] })
  const stay = setInterval(() => {}, 1000) // what collects keeps no process alive
  try {
    using _ = giveBackWhenIdle(silentLogger, 20)
    await collected.promise
  } finally {
    clearInterval(stay)
    observer.disconnect()
  }
})

function isMajor(entry: object): boolean {
  if (!('detail' in entry) || typeof entry.detail !== 'object' || entry.detail === null) return false
  return 'kind' in entry.detail && entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR
}

// Memory goes back to the system once nobody is served, and nobody who is served waits for that.
import assert from 'node:assert/strict'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { test } from 'node:test'
import { collectWhenIdle, IdleHeap } from '../../src/cli/idle-heap.ts'

const mebibyte = 1024 * 1024

function heapOf(size: number): { size: number; utilization: number; collections: number; readonly look: () => void } {
  const state = { size, utilization: 0, collections: 0 }
  const heap = new IdleHeap({
    size: () => state.size,
    utilization: () => state.utilization,
    collect: () => {
      state.collections += 1
      state.size = 30 * mebibyte
    },
  })
  return Object.assign(state, { look: () => heap.look() })
}

test('a heap that has grown is collected once nobody is served', () => {
  const heap = heapOf(60 * mebibyte)
  heap.utilization = 0.5
  heap.look()
  assert.equal(heap.collections, 0, 'somebody is served')
  heap.utilization = 0
  heap.look()
  assert.equal(heap.collections, 1)
  heap.look()
  assert.equal(heap.collections, 1, 'nothing has come since')
  heap.size = 35 * mebibyte
  heap.look()
  assert.equal(heap.collections, 1, 'too little has come')
  heap.size = 50 * mebibyte
  heap.look()
  assert.equal(heap.collections, 2)
})

test('the heap of an idle process is collected', async () => {
  const collected = Promise.withResolvers<void>()
  const observer = new PerformanceObserver((list) => {
    if (list.getEntries().some(isMajor)) collected.resolve()
  })
  observer.observe({ entryTypes: ['gc'] })
  const stay = setInterval(() => {}, 1000) // what collects keeps no process alive
  try {
    using _ = collectWhenIdle(20)
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

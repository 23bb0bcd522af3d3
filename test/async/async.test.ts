import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coalescer } from '../../src/async/coalesce.ts'
import { deferred } from '../../src/async/deferred.ts'
import { KeyedLock } from '../../src/async/lock.ts'
import { waitFor } from '../../src/async/wait.ts'

test('P4: callers of one key share one run, and the next one after its end starts anew', async () => {
  const coalescer = new Coalescer<number>()
  const gate = deferred()
  let runs = 0
  const task = async (): Promise<number> => {
    runs += 1
    await gate.promise
    return runs
  }
  const all = Array.from({ length: 50 }, () => coalescer.run('a', task))
  gate.resolve()
  assert.deepEqual(new Set(await Promise.all(all)), new Set([1]))
  assert.equal(await coalescer.run('a', task), 2)
})

test('a caller that leaves ends its own wait only', async () => {
  const coalescer = new Coalescer<string>()
  const gate = deferred()
  const leaving = new AbortController()
  const task = async (): Promise<string> => {
    await gate.promise
    return 'done'
  }
  const first = coalescer.run('a', task, leaving.signal)
  const second = coalescer.run('a', task)
  leaving.abort(new Error('left'))
  await assert.rejects(first, /left/)
  gate.resolve()
  assert.equal(await second, 'done')
})

test('an error is shared, and not remembered', async () => {
  const coalescer = new Coalescer<string>()
  const fail = async (): Promise<string> => {
    throw new Error('no')
  }
  await assert.rejects(coalescer.run('a', fail), /no/)
  assert.equal(await coalescer.run('a', async () => 'yes'), 'yes')
})

test('tasks of one key run one after the other, in order; other keys run beside them', async () => {
  const lock = new KeyedLock()
  const gate = deferred()
  const log: string[] = []
  const first = lock.run('a', async () => {
    await gate.promise
    log.push('a1')
  })
  const second = lock.run('a', async () => void log.push('a2'))
  await lock.run('b', async () => void log.push('b'))
  gate.resolve()
  await Promise.all([first, second])
  assert.deepEqual(log, ['b', 'a1', 'a2'])
})

test('a task that fails does not hold the lock', async () => {
  const lock = new KeyedLock()
  await assert.rejects(
    lock.run('a', async () => {
      throw new Error('no')
    }),
  )
  assert.equal(await lock.run('a', async () => 'yes'), 'yes')
})

test('waiting ends with the signal, and leaves no listener behind', async () => {
  const controller = new AbortController()
  const never = deferred()
  const waiting = waitFor(never.promise, controller.signal)
  controller.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(waitFor(never.promise, controller.signal), /enough/)
  assert.equal(await waitFor(Promise.resolve(1), undefined), 1)
})

test('P9: a wait that is over before it began leaves no rejection unhandled', async () => {
  const failing = Promise.withResolvers<never>()
  await assert.rejects(waitFor(failing.promise, AbortSignal.abort(new Error('gone'))), /gone/)
  failing.reject(new Error('nobody waits')) // the test runner fails on an unhandled one
  await new Promise(setImmediate)
})

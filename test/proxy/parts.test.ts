// Parts of one blob that come by several connections.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { inParts, type PartRange } from '../../src/proxy/parts.ts'

const length = 1000
const connections = 3
const blob = randomBytes(20 * length + 17)

/** Parts that come at once, but for the first, which waits for `isFirstDue`. */
function transfer(isFirstDue: Promise<void>): {
  asked: PartRange[]
  running: () => number
  body: AsyncGenerator<Uint8Array, void>
} {
  const asked: PartRange[] = []
  let running = 0
  async function* part({ start, end }: PartRange): AsyncGenerator<Uint8Array, void> {
    running += 1
    for (let at = start; at < end; at += 300) {
      await turn()
      yield blob.subarray(at, Math.min(at + 300, end))
    }
    running -= 1
  }
  async function* first(): AsyncGenerator<Uint8Array, void> {
    await isFirstDue
    yield blob.subarray(0, length)
  }
  const open = (range: PartRange): AsyncGenerator<Uint8Array, void> => {
    asked.push(range)
    return part(range)
  }
  const { signal } = new AbortController()
  const body = inParts({ start: 0, size: blob.length, length, connections, first: first(), open, signal })
  return { asked, running: () => running, body }
}

test('P5: a connection that has brought its part goes on while those before it are not handed on yet, within bounds', async () => {
  const due = deferred()
  const { asked, running, body } = transfer(due.promise)
  const chunks: Buffer[] = []
  const read = (async (): Promise<void> => {
    for await (const chunk of body) {
      chunks.push(Buffer.from(chunk))
      assert.ok(running() <= connections, `${running()} at once`)
    }
  })()
  while (asked.length < 2 * connections - 1 || running() > 0) await turn()
  for (let count = 0; count < 20; count += 1) await turn()
  assert.equal(asked.length, 2 * connections - 1, 'what nobody has taken is bounded')
  due.resolve()
  await read
  assert.deepEqual(Buffer.concat(chunks), blob)
  assert.equal(asked.length, 20)
})

test('whoever leaves ends the parts that come ahead, and is gone when they are', async () => {
  const ended: number[] = []
  async function* part({ start }: PartRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const end = deferred<never>()
    signal.addEventListener('abort', () => {
      ended.push(start)
      end.reject(signal.reason)
    })
    yield await end.promise
  }
  async function* first(): AsyncGenerator<Uint8Array, void> {
    yield blob.subarray(0, length)
  }
  const { signal } = new AbortController()
  const plan = { start: 0, size: blob.length, length, connections, first: first(), open: part, signal }
  for await (const _ of inParts(plan)) break
  assert.deepEqual(ended, [length, 2 * length])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred, type Deferred } from '../../src/async/deferred.ts'
import { Turns } from '../../src/proxy/turns.ts'

interface Running {
  /** Hosts whose tasks have begun, in that order. */
  begun: string
  /** Ends the first of a host's that runs. */
  end(host: string): Promise<void>
}

function begin(turns: Turns, hosts: string): Running {
  const tasks: { readonly host: string; readonly gate: Deferred<void> }[] = []
  const running: Running = {
    begun: '',
    async end(host) {
      const index = tasks.findIndex((task) => task.host === host)
      tasks.splice(index, 1)[0]?.gate.resolve()
      await new Promise(setImmediate)
    },
  }
  for (const host of hosts) {
    void turns.run(host, async () => {
      const gate = deferred()
      running.begun += host
      tasks.push({ host, gate })
      await gate.promise
    })
  }
  return running
}

test('so many run at once, the others in the order they came, and each host has a place for itself', async () => {
  const running = begin(new Turns({ most: 3, own: 1 }), 'aaabbaac')
  assert.equal(running.begun, 'aaabc')
  await running.end('a')
  await running.end('a')
  assert.equal(running.begun, 'aaabc') // three still run, one of each
  await running.end('a')
  assert.equal(running.begun, 'aaabcba')
  await running.end('b')
  assert.equal(running.begun, 'aaabcba')
  await running.end('c')
  assert.equal(running.begun, 'aaabcbaa')
})

test('a task that fails gives its place back', async () => {
  const turns = new Turns({ most: 1, own: 1 })
  const failing = turns.run('a', async () => {
    await new Promise(setImmediate)
    throw new Error('it failed')
  })
  const next = turns.run('a', async () => 'next')
  await assert.rejects(failing, /it failed/)
  assert.equal(await next, 'next')
})

// T-44 to T-47: a redis must never cost more than it saves, and never be believed more than storage.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { Keyv } from 'keyv'
import { Facts, type FactStore } from '../../src/cache/facts.ts'
import type { RedisOptions } from '../../src/cache/redis-connection.ts'
import { RedisStore } from '../../src/cache/redis-store.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startProcess, startRedis, until, without, type Redis } from '../support/real-parts.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { factStoreConformance, parseNumber } from './conformance.ts'

const skip = without('redis-server', 'redis-cli')

function optionsOf(redis: Redis, more?: Partial<RedisOptions>): RedisOptions {
  const [host = '', port = ''] = redis.host.split(':')
  return { host, port: Number(port), pause: 20, patience: 1000, ...more }
}

async function upStore(redis: Redis, more?: Partial<RedisOptions>): Promise<RedisStore> {
  const store = new RedisStore(optionsOf(redis, more), silentLogger)
  await until('the redis is up', async () => store.isUp)
  return store
}

/** Milliseconds that asking for one fact takes. */
async function costOf(store: FactStore): Promise<number> {
  const begin = performance.now()
  await store.get('number:a')
  return performance.now() - begin
}

factStoreConformance(
  'the redis',
  async () => {
    const redis = await startRedis()
    const store = await upStore(redis)
    return {
      store,
      async [Symbol.asyncDispose]() {
        await store[Symbol.asyncDispose]()
        await redis[Symbol.asyncDispose]()
      },
    }
  },
  { skip },
)

suite('the redis store of facts', { skip }, () => {
  test('keys begin with our name, and facts are gone in a week', async () => {
    await using redis = await startRedis()
    await using store = await upStore(redis)
    await new Facts(store, 'number', parseNumber).set('a', 1)
    const ttl = Number(await redis.ask('TTL', 'entrepot:number:a'))
    assert.ok(ttl > 6 * 24 * 3600 && ttl <= 7 * 24 * 3600, String(ttl))
  })

  test('two processes share what they know', async () => {
    await using redis = await startRedis()
    await using one = await upStore(redis)
    await using two = await upStore(redis)
    await new Facts(one, 'number', parseNumber).set('a', 1)
    assert.equal(await new Facts(two, 'number', parseNumber).find('a'), 1)
  })

  test('T-45: garbage and keys of another type are not known, cost nothing, and are overwritten', async () => {
    await using redis = await startRedis()
    await using store = await upStore(redis)
    const facts = new Facts(store, 'number', parseNumber)
    const key = 'entrepot:number:a'
    const strangers: readonly (readonly string[])[] = [
      ['SET', key, 'garbage'],
      ['SET', key, ''],
      ['SET', key, '5'],
      ['SET', key, 'null'],
      ['SET', key, '{"value":'],
      ['SET', key, '{"value":"text"}'],
      ['SET', key, '{"value":1,"expires":"never"}x'],
      ['HSET', key, 'field', '1'],
      ['LPUSH', key, '1'],
      ['SETRANGE', key, '20000', 'oversized'],
    ]
    for (const stranger of strangers) {
      await redis.ask('DEL', key)
      await redis.ask(...stranger)
      assert.equal(await facts.find('a'), undefined, stranger.join(' '))
      assert.ok(store.isUp, stranger.join(' '))
      await facts.set('a', 1)
      assert.equal(await facts.find('a'), 1, stranger.join(' '))
    }
  })

  test('T-44: a redis that stops answering costs its patience once, and is used again when it answers', async () => {
    await using redis = await startRedis()
    const log = recordingLogger()
    await using store = new RedisStore(optionsOf(redis, { patience: 50 }), log.logger)
    await until('the redis is up', async () => store.isUp)
    const facts = new Facts(store, 'number', parseNumber)
    await facts.set('a', 1)
    const pid = Number(/process_id:(\d+)/.exec(await redis.ask('INFO', 'server'))?.[1])
    process.kill(pid, 'SIGSTOP')
    try {
      const first = await Promise.all([costOf(store), costOf(store), costOf(store)])
      assert.ok(Math.max(...first) < 1000, `${first.join(' ')} ms`)
      assert.ok(!store.isUp)
      const begin = performance.now()
      for (let call = 0; call < 1000; call++) await facts.find('a')
      assert.ok(performance.now() - begin < 500, 'nobody waits any more')
      // Its connection is given up, and others fail in vain, while it does not answer.
      await until('several attempts', async () => performance.now() - begin > 400)
      assert.equal(await facts.find('a'), undefined)
      assert.equal(log.lines.filter(({ msg }) => msg === 'redis is away').length, 1, log.text())
      assert.doesNotMatch(log.text(), /"stack"/)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until('the redis is used again', async () => store.isUp)
    assert.equal(await facts.find('a'), 1)
    assert.equal(log.lines.filter(({ msg }) => msg === 'redis is back').length, 1)
  })

  test('T-44: a redis that dies and comes back is used again', async () => {
    const redis = await startRedis()
    const log = recordingLogger()
    await using store = new RedisStore(optionsOf(redis), log.logger)
    await until('the redis is up', async () => store.isUp)
    const facts = new Facts(store, 'number', parseNumber)
    await facts.set('a', 1)
    await redis.process.stop()
    assert.equal(await facts.find('a'), undefined)
    await log.until(({ msg }) => msg === 'redis is away')
    assert.doesNotMatch(log.text(), /"stack"/)
    await facts.set('a', 2)
    await facts.delete('a')
    const port = redis.host.split(':')[1] ?? ''
    await using again = await startProcess('redis-server', ['--bind', '127.0.0.1', '--port', port, '--save', ''])
    await until('the redis is used again', async () => store.isUp)
    await facts.set('a', 3)
    assert.equal(await facts.find('a'), 3)
    await again.stop()
  })

  for (const [what, words] of [
    ['read-only', ['REPLICAOF', '127.0.0.1', '1']],
    ['full', ['CONFIG', 'SET', 'maxmemory', '1']],
    ['asking for a password', ['CONFIG', 'SET', 'requirepass', 'secret']],
  ] as const) {
    test(`T-44: a redis that is ${what} is left alone`, async () => {
      await using redis = await startRedis()
      await redis.ask(...words)
      const log = recordingLogger()
      await using store = new RedisStore(optionsOf(redis), log.logger)
      await until('it is noticed', async () => log.lines.length > 0)
      await new Facts(store, 'number', parseNumber).set('a', 1)
      assert.equal(await store.get('number:a'), undefined)
      assert.ok(!store.isUp)
      assert.ok(!log.text().includes('secret'))
    })
  }

  test('T-47: what is deleted while the redis is away is not known when it is back', async () => {
    await using redis = await startRedis()
    await using store = await upStore(redis, { patience: 50 })
    const facts = new Facts(store, 'number', parseNumber)
    await facts.set('a', 1)
    await facts.set('b', 1)
    const pid = Number(/process_id:(\d+)/.exec(await redis.ask('INFO', 'server'))?.[1])
    process.kill(pid, 'SIGSTOP')
    try {
      await facts.delete('a') // waits in vain
      await facts.delete('b') // does not wait
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until('the redis is used again', async () => store.isUp)
    assert.equal(await facts.find('a'), undefined)
    assert.equal(await facts.find('b'), undefined)
    assert.equal(await redis.ask('EXISTS', 'entrepot:number:a', 'entrepot:number:b'), '0')
  })

  test('T-47: what is deleted while the redis is away is not known afterwards, however much that is', async () => {
    await using redis = await startRedis()
    await using store = await upStore(redis, { patience: 50 })
    const facts = new Facts(store, 'number', parseNumber)
    await facts.set('a', 1)
    const pid = Number(/process_id:(\d+)/.exec(await redis.ask('INFO', 'server'))?.[1])
    process.kill(pid, 'SIGSTOP')
    try {
      for (let other = 0; other < 10_000; other++) await facts.delete(`${other}`)
      await facts.delete('a') // one more than are remembered
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until('the redis is used again', async () => store.isUp)
    assert.equal(await facts.find('a'), undefined)
    assert.equal(await redis.ask('EXISTS', 'entrepot:number:a'), '0')
  })

  test(
    'T-47: what is deleted at the moment at which the redis is used again is deleted there',
    { timeout: 20_000 },
    async (context) => {
      await using redis = await startRedis()
      await using store = await upStore(redis, { pause: 1 })
      await using other = await upStore(redis)
      const real = Keyv.prototype.delete // oxlint-disable-line typescript/unbound-method -- it is called on its own
      for (let steps = 0; steps < 20; steps++) {
        await other.set('number:b', 1, 60_000)
        const deletions: Promise<void>[] = []
        const deleteLater = async (): Promise<void> => {
          for (let step = 0; step < steps; step++) await Promise.resolve()
          deletions.push(store.delete('number:b'))
        }
        let calls = 0
        const deleting = context.mock.method(Keyv.prototype, 'delete', async function (this: Keyv, key: string) {
          calls += 1
          if (calls === 1) throw new Error('no answer')
          const isFirst = calls === 2
          const isDeleted = await real.call(this, key)
          if (isFirst) void deleteLater() // one of the times it comes when no more is owed, and nothing is served yet
          return isDeleted
        })
        await store.delete('number:a')
        while (deletions.length === 0 || !store.isUp) await new Promise(setImmediate)
        await Promise.all(deletions)
        assert.equal(await other.get('number:b'), undefined, `${steps} steps later`)
        deleting.mock.restore()
      }
    },
  )

  test('T-47: what was written without a confirmation is deleted when the redis is back', async () => {
    await using redis = await startRedis()
    await using store = await upStore(redis, { patience: 50 })
    await using other = await upStore(redis)
    const facts = new Facts(store, 'number', parseNumber)
    const pid = Number(/process_id:(\d+)/.exec(await redis.ask('INFO', 'server'))?.[1])
    process.kill(pid, 'SIGSTOP')
    try {
      await facts.set('a', 1) // waits in vain, and arrives later
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until('the redis is used again', async () => store.isUp)
    assert.equal(await facts.find('a'), undefined)
    assert.equal(await new Facts(other, 'number', parseNumber).find('a'), undefined)
    await facts.set('a', 2)
    assert.equal(await facts.find('a'), 2)
  })
})

suite('a redis that is not there', () => {
  test('P9: nothing waits for it, it is said once, and closing is quick', async () => {
    const log = recordingLogger()
    const redis = { host: '127.0.0.1', port: 1, pause: 1 }
    const store = openFactStore({ kind: 'redis', redis }, log.logger)
    assert.ok((await costOf(store)) < 50)
    await until('several attempts', async () => log.lines.length > 0)
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
    await store.delete('a')
    assert.equal(log.lines.length, 1, log.text())
    assert.equal(log.lines[0]?.['level'], 'warn')
    const begin = performance.now()
    await store[Symbol.asyncDispose]()
    assert.ok(performance.now() - begin < 1000)
  })

  test('P9: one that accepts and says nothing holds up neither requests nor the end', async () => {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => void sockets.add(socket)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    const log = recordingLogger()
    const store = new RedisStore({ host: '127.0.0.1', port: address.port, pause: 1, dialTimeout: 50 }, log.logger)
    assert.ok((await costOf(store)) < 50)
    await until('it is given up', async () => log.lines.length > 0)
    assert.equal(store.isUp, false)
    await store[Symbol.asyncDispose]()
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
})

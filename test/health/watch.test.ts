import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileIsAbsent, portAnswers, serverAnswers } from '../../src/health/checks.ts'
import { Readiness } from '../../src/health/readiness.ts'
import { Watch, within } from '../../src/health/watch.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { until } from '../support/proxy-under-test.ts'
import { recordingLogger } from '../support/recording-logger.ts'

const never = new AbortController().signal

test('a file that is there is a failing check', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'down')
  const look = fileIsAbsent(path)
  await look(never)
  await writeFile(path, '')
  await assert.rejects(look(never), /file exists/)
  await rm(path)
  await look(never)
})

test('a server is asked by HEAD, with the headers, and must answer the status', async () => {
  const seen: unknown[] = []
  const server = createServer((request, response) => {
    seen.push([request.method, request.url, request.headers['x-a']])
    response.writeHead(204).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const url = new URL(`http://127.0.0.1:${port}/up`)
  await serverAnswers({ url, headers: { 'X-A': ['b'] }, status: 204 })(never)
  await assert.rejects(serverAnswers({ url, headers: {}, status: 200 })(never), /answered 204, expected 200/)
  await portAnswers({ host: '127.0.0.1', port })(never)
  server.close()
  await once(server, 'close')
  assert.deepEqual(seen[0], ['HEAD', '/up', 'b'])
  await assert.rejects(serverAnswers({ url, headers: {}, status: 204 })(never), { code: 'ECONNREFUSED' })
  await assert.rejects(portAnswers({ host: '127.0.0.1', port })(never), { code: 'ECONNREFUSED' })
})

test('a name of which no address answers is told with what became of each', async () => {
  const refused = ['::1', '127.0.0.1'].map((address) => new Error(`connect ECONNREFUSED ${address}:9`))
  const look = async (): Promise<void> => await Promise.reject(new AggregateError(refused)) // as Node's sockets fail
  const check = { name: 'localhost:9', look, interval: 1000, timeout: 1000, threshold: 0 }
  using watch = new Watch([check], silentLogger)
  await until(() => Object.keys(watch.failures()).length > 0)
  assert.deepEqual(watch.failures(), {
    'localhost:9': 'connect ECONNREFUSED ::1:9, connect ECONNREFUSED 127.0.0.1:9',
  })
})

test('a check fails from as many failures in a row as its threshold says, and says so once', async () => {
  const { logger, lines } = recordingLogger()
  let looks = 0
  let fails = true
  const seen: unknown[] = []
  const look = async (): Promise<void> => {
    await new Promise(setImmediate)
    looks += 1
    if (looks <= 4) seen.push(watch.failures())
    if (fails) throw new Error('no')
  }
  using watch = new Watch([{ name: 'it', look, interval: 0, timeout: 1000, threshold: 3 }], logger)
  await until(() => watch.failures()['it'] === 'no')
  await until(() => looks > 3)
  assert.deepEqual(seen, [{}, {}, {}, { it: 'no' }])
  const before = looks
  await until(() => looks > before + 3)
  fails = false
  await until(() => watch.failures()['it'] === undefined)
  assert.deepEqual(
    lines.map(({ msg, check }) => [msg, check]),
    [
      ['health check fails', 'it'],
      ['health check is well again', 'it'],
    ],
  )
})

test('P7: a look that hangs is not joined by others', async () => {
  let looks = 0
  let end = Promise.withResolvers<void>()
  const look = async (): Promise<void> => {
    looks += 1
    await end.promise
  }
  using watch = new Watch([{ name: 'it', look, interval: 0, timeout: 1, threshold: 3 }], silentLogger)
  await until(() => watch.failures()['it'] !== undefined)
  assert.equal(looks, 1)
  end.resolve()
  await until(() => watch.failures()['it'] === undefined)
  end = Promise.withResolvers<void>()
  await until(() => watch.failures()['it'] !== undefined)
  end.reject(new Error('no'))
  await until(() => watch.failures()['it'] === 'no')
})

test('P7: what hangs has failed when its time is over', async () => {
  await assert.rejects(
    within(async () => await new Promise(() => {}), 5, never),
    /no answer within 0.005 s/,
  )
})

test('T-100: readiness is looked at once for all who ask, and what hangs is not asked a second time', async () => {
  let looks = 0
  let now = 0
  let end = Promise.withResolvers<void>()
  const look = async (): Promise<void> => {
    looks += 1
    await end.promise
  }
  using readiness = new Readiness({ look, timeout: 20, lifetime: 100, logger: silentLogger, clock: () => now })
  const both = await Promise.all([readiness.failure(), readiness.failure()])
  assert.deepEqual([both, looks], [['no answer within 0.02 s', 'no answer within 0.02 s'], 1])
  now = 200
  assert.equal(await readiness.failure(), 'no answer within 0.02 s')
  assert.equal(looks, 1)
  end.resolve()
  await until(() => true)
  now = 400
  assert.equal(await readiness.failure(), undefined)
  end = Promise.withResolvers()
  now = 450
  assert.equal(await readiness.failure(), undefined)
  readiness.drain()
  assert.equal(await readiness.failure(), 'the server ends')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Load } from '../../bench/load.ts'
import { Origin } from '../support/outside/origin.ts'

const seed = '00112233445566778899aabbccddeeff'

test('clients in another process pull from an origin in a third, and count what came', async () => {
  await using origin = await Origin.start()
  await using load = new Load()
  const { digest, size } = await origin.addBlob('app', 300_000, seed)
  const target = { path: `/v2/app/blobs/${digest}`, body: { seed, size } }
  const loading = load.begin({ url: origin.url, targets: [target], connections: 3, times: 2 })
  await loading.begun
  const { answers, bytes } = await loading.done
  assert.deepEqual({ answers, bytes }, { answers: 6, bytes: 6 * size })
  assert.equal((await origin.asked(digest)).length, 6)
})

test('an answer that was due is counted from then on, though its request had to wait for the one before', async () => {
  await using origin = await Origin.start()
  await using load = new Load()
  const { digest, size } = await origin.addBlob('app', 300_000, seed)
  const targets = [{ path: `/v2/app/blobs/${digest}`, body: { seed, size } }]
  const { answers, first, middle, p99 } = await load.run({
    url: origin.url,
    targets,
    connections: 1,
    times: 20,
    every: 0, // all of them at once
  })
  assert.equal(answers, 20)
  assert.ok(first < middle && middle < p99, `${first}, ${middle}, ${p99}`)
})

test('an answer that is not what it must be fails the job', async () => {
  await using origin = await Origin.start()
  await using load = new Load()
  const { digest, size } = await origin.addBlob('app', 300_000, seed)
  const job = { url: origin.url, connections: 1, times: 1 }
  const body = { seed: seed.replace('0', '1'), size }
  await assert.rejects(load.run({ ...job, targets: [{ path: `/v2/app/blobs/${digest}`, body }] }), /wrong bytes at 0/)
  await assert.rejects(load.run({ ...job, targets: [{ path: '/v2/app/blobs/none', body }] }), /404/)
})

test('clients that were ended fail what they had to do, and can still be let go', async () => {
  await using origin = await Origin.start()
  await using load = new Load()
  const { digest } = await origin.addBlob('app', 300_000)
  await origin.rules({ path: digest, fault: { do: 'silence' } })
  const targets = [{ path: `/v2/app/blobs/${digest}`, body: undefined }]
  const loading = load.begin({ url: origin.url, targets, connections: 1, times: 1 })
  const failed = assert.rejects(loading.done, /ended/)
  load.end()
  await failed
  await assert.rejects(load.run({ url: origin.url, targets, connections: 1, times: 1 }))
})

// With a real redis for the descriptors: what is in it is used, and nothing depends on it.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startOrigin } from '../support/origin.ts'
import { skopeoCopy } from '../support/real-clients.ts'
import { builderPrograms, imageBuilder } from '../support/real-image.ts'
import {
  startDockerRegistry,
  startEntrepot,
  startRedis,
  temporaryFolder,
  until,
  without,
  type Redis,
} from '../support/real-parts.ts'

/** Entrepot connects in the background, and keeps nothing there before: its own probe comes first. */
async function untilProbed(redis: Redis): Promise<void> {
  await until('the redis is in use', async () => (await redis.ask('dbsize')) !== '0')
}

async function untilFactsAreIn(redis: Redis): Promise<void> {
  await until('facts are in redis', async () => Number(await redis.ask('dbsize')) > 1)
}

test(
  'descriptors are kept in redis over a restart, and images are served with redis gone',
  { skip: without('docker-registry', 'redis-server', 'redis-cli', 'skopeo', ...builderPrograms), timeout: 60_000 },
  async (t) => {
    await using folder = await temporaryFolder()
    await using upstream = await startDockerRegistry(folder, { root: join(folder.path, 'upstream') })
    const builder = await imageBuilder(folder)
    await builder.push(upstream.host, 'team/greeting', 'hello')
    await using redis = await startRedis()
    const config = `version: 0.1
storage:
  filesystem: { rootdirectory: ${join(folder.path, 'entrepot')} }
  cache: { blobdescriptor: redis }
redis: { addr: ${redis.host}, dialtimeout: 500ms, readtimeout: 500ms, writetimeout: 500ms }
http: { addr: 127.0.0.1:0 }
proxy:
  upstreams:
    one.test: { url: ${upstream.url} }
`
    const image = 'one.test/team/greeting:index'
    const expected = await skopeoCopy(`${upstream.host}/team/greeting:index`)

    await t.test('a pull leaves facts in redis', async () => {
      await using entrepot = await startEntrepot(folder, config)
      await untilProbed(redis)
      assert.deepEqual(await skopeoCopy(`${entrepot.host}/${image}`), expected)
      await untilFactsAreIn(redis)
      assert.equal(await entrepot.stop(), 0)
    })
    await upstream.stop()

    await t.test('a restarted entrepot goes on with them, and without them', async () => {
      await using entrepot = await startEntrepot(folder, config)
      assert.deepEqual(await skopeoCopy(`${entrepot.host}/${image}`), expected)
      await redis.ask('flushall')
      assert.deepEqual(await skopeoCopy(`${entrepot.host}/${image}`), expected)
      await redis.process.stop()
      assert.deepEqual(await skopeoCopy(`${entrepot.host}/${image}`), expected)
      assert.equal(await entrepot.stop(), 0)
    })

    await t.test('entrepot starts and serves while redis is down', async () => {
      await using entrepot = await startEntrepot(folder, config)
      assert.deepEqual(await skopeoCopy(`${entrepot.host}/${image}`), expected)
      assert.equal(await entrepot.stop(), 0)
    })
  },
)

test(
  'a redis with a password is used by whoever knows it, and by nobody else, who serves without it',
  { skip: without('redis-server', 'redis-cli'), timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    await using origin = await startOrigin()
    const { layers } = await origin.addImage('app', 'v1', [Buffer.from('a layer')])
    await using redis = await startRedis('right-word')
    for (const password of ['wrong-word', 'right-word']) {
      await using entrepot = await startEntrepot(
        folder,
        `version: 0.1
log: { level: debug }
storage: { inmemory: {}, cache: { blobdescriptor: redis } }
redis: { addr: "${redis.host}", password: ${password}, dialtimeout: 500ms }
http: { addr: 127.0.0.1:0 }
proxy: { upstreams: { one.test: { url: "${origin.url}" } } }
`,
      )
      if (password === 'right-word') await untilProbed(redis)
      else await entrepot.process.waitFor(/WRONGPASS/)
      for (const layer of layers) {
        assert.equal((await pull(`${entrepot.url}/v2/one.test/app/blobs/${layer}`)).digest, layer)
      }
      if (password === 'right-word') await untilFactsAreIn(redis)
      assert.equal(await entrepot.stop(), 0)
      if (password === 'wrong-word') assert.equal(await redis.ask('dbsize'), '0')
      assert.doesNotMatch(entrepot.process.output(), /-word/)
    }
  },
)

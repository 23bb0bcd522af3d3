// Several servers on one folder: what one of them does, the others see, and what happens to one happens to no other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { lightPull } from '../support/light-client.ts'
import { randomBlob, startOrigin, type Origin } from '../support/origin.ts'
import { startRedis, without } from '../support/real-parts.ts'

type Sections = Record<string, unknown>

/** Three of them, closed at the end. */
async function startReplicas(
  root: string,
  sectionsOf: (nth: number) => Sections,
): Promise<AsyncDisposable & { readonly apps: readonly [AppUnderTest, AppUnderTest, AppUnderTest] }> {
  await using opening = new AsyncDisposableStack()
  const start = async (nth: number): Promise<AppUnderTest> => {
    const { storage, ...sections } = sectionsOf(nth)
    const filesystem = { rootdirectory: root }
    return opening.use(
      await startAppUnderTest({ storage: { filesystem, ...(storage as Sections | undefined) }, ...sections }),
    )
  }
  const apps = [await start(0), await start(1), await start(2)] as const
  const stack = opening.move()
  return { apps, [Symbol.asyncDispose]: async () => await stack.disposeAsync() }
}

const size = 1024 * 1024

function getsOf({ seen }: Origin, path: string): number {
  return seen.filter((line) => line === `GET ${path}`).length
}

/** Lets half of every blob through, and the rest when it is told to. */
function holdBlobs(origin: Origin): { release(): void } {
  const gate = deferred()
  origin.dial = ({ path }) => {
    if (!path.includes('/blobs/')) return undefined
    return {
      async *body(body) {
        let free = size / 2
        for await (const chunk of body) {
          yield chunk.subarray(0, free)
          if (chunk.byteLength > free) {
            await gate.promise
            yield chunk.subarray(free)
          }
          free = Math.max(0, free - chunk.byteLength)
        }
      },
    }
  }
  return { release: () => gate.resolve() }
}

async function pullFromAll(sectionsOf: (nth: number) => Sections): Promise<void> {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes } = randomBlob(size)
  const digest = await origin.addBlob('app', bytes)
  const held = holdBlobs(origin)
  await using replicas = await startReplicas(folder.path, (nth) => {
    return { proxy: { remoteurl: origin.url }, ...sectionsOf(nth) }
  })
  const { apps } = replicas
  const path = `/v2/app/blobs/${digest}`
  const clients = Array.from({ length: 300 }, (_, nth) => {
    const of = nth % 3
    return { of, ...lightPull((apps[of] ?? apps[0]).url + path) }
  })
  await Promise.all(clients.map(async ({ firstByte }) => await firstByte))
  await apps[1][Symbol.asyncDispose]() // in the middle of its fill, the other two in the middle of theirs
  held.release()
  for (const { of, done } of clients) {
    const answer = await done
    assert.equal(answer.complete, of !== 1)
    if (answer.complete) assert.deepEqual([answer.status, answer.digest], [200, digest])
  }
  assert.ok(getsOf(origin, path) <= 3, origin.seen.join('\n'))
  for (const app of [apps[0], apps[2]]) {
    await app.until(({ msg }) => msg === 'fill stored')
    assert.equal((await lightPull(app.url + path).done).digest, digest)
  }
  assert.ok(getsOf(origin, path) <= 3, 'what one has stored, all have')
}

test('T-48, P4: 300 clients of one cold blob on three servers make three transfers, and one server that ends ends its own', async () => {
  await pullFromAll(() => ({}))
})

test(
  'T-48: the same with a redis between them, and with one of them without',
  { skip: without('redis-server') },
  async () => {
    await using redis = await startRedis()
    await pullFromAll((nth) => {
      if (nth === 2) return {}
      return { redis: { addr: redis.host }, storage: { cache: { blobdescriptor: 'redis' } } }
    })
  },
)

test('T-49: an upload begun at one server goes on at another, and ends at a third', async () => {
  for (const secret of ['of all three', undefined]) {
    await using folder = await temporaryFolder()
    const http = { addr: '127.0.0.1:0', draintimeout: '0s', relativeurls: true }
    await using replicas = await startReplicas(folder.path, () => {
      return { http: secret === undefined ? http : { ...http, secret } } // without one, they share what lies in the folder
    })
    const [first, second, third] = replicas.apps
    const { bytes, digest } = randomBlob(1_000_000)
    const begun = await ask(`${first.url}/v2/app/blobs/uploads/`, { method: 'POST' })
    assert.equal(begun.status, 202)
    const patch = { method: 'PATCH', body: bytes.subarray(0, 600_000) }
    const patched = await ask(second.url + (begun.headers.location ?? ''), patch)
    assert.deepEqual([patched.status, patched.headers['range']], [202, '0-599999'])
    const location = patched.headers.location ?? ''
    assert.equal((await ask(first.url + location)).headers['range'], '0-599999', 'each knows how far it has come')
    const put = { method: 'PUT', body: bytes.subarray(600_000) }
    assert.equal((await ask(`${third.url}${location}&digest=${digest}`, put)).status, 201)
    for (const { url } of replicas.apps) {
      assert.ok((await ask(`${url}/v2/app/blobs/${digest}`)).body.equals(bytes))
      assert.equal((await ask(url + location)).status, 404, 'it is over for all')
    }
  }
})

test('T-49, P10: where secrets differ, the other server refuses with a sentence, and the first goes on', async () => {
  await using folder = await temporaryFolder()
  await using replicas = await startReplicas(folder.path, (nth) => {
    return { http: { addr: '127.0.0.1:0', draintimeout: '0s', relativeurls: true, secret: `of ${nth}` } }
  })
  const [first, second] = replicas.apps
  const { bytes, digest } = randomBlob(1000)
  const { headers } = await ask(`${first.url}/v2/app/blobs/uploads/`, { method: 'POST' })
  const location = headers.location ?? ''
  for (const [method, query] of [
    ['PATCH', ''],
    ['PUT', `&digest=${digest}`],
    ['DELETE', ''],
  ] as const) {
    const refused = await ask(second.url + location + query, { method, body: bytes })
    assert.deepEqual([refused.status, refused.codes], [404, ['BLOB_UPLOAD_INVALID']])
    assert.match(refused.body.toString(), /Location of this upload is not ours/)
  }
  assert.equal((await ask(`${first.url}${location}&digest=${digest}`, { method: 'PUT', body: bytes })).status, 201)
})

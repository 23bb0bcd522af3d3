import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { api } from '../../src/api/api.ts'
import { HotReplies } from '../../src/api/hot-replies.ts'
import { collect, type ByteStream } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import type { Handler, Reply, Request } from '../../src/http/exchange.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { AccessController } from '../../src/registry/access.ts'
import type { Trace } from '../../src/registry/call.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { manifest, manifestDigest } from '../auth/fixture.ts'
import { apiOptions } from '../support/api-options.ts'
import { streamOf } from '../support/stream-of.ts'

const digest = `sha256:${'a'.repeat(64)}`

function request(more: Partial<Request> = {}): Request {
  const target = more.target ?? '/v2/app/blobs/x'
  return {
    method: 'GET',
    target,
    path: target,
    query: new URLSearchParams(),
    headers: {},
    address: '',
    scheme: 'http',
    host: undefined,
    peer: '',
    body: (async function* () {})(),
    signal: new AbortController().signal,
    log: { kind: 'blob', repository: 'app', reference: digest },
    ...more,
  }
}

const reply: Reply = { status: 200, headers: { 'content-length': 2 }, body: Buffer.from('ab') }
const local: Trace = { from: 'local' }

function kept(asked: Request, given: Reply = reply, trace: Trace = local): boolean {
  const hot = new HotReplies()
  hot.keep(asked, given, trace, hot.generation)
  return hot.find({ ...asked, log: {} }) !== undefined
}

const largeBlob = Buffer.alloc(200_000, 'large ')

/** Over a registry with the manifest in it, and a blob. */
async function guardedHandler(hotReplies: HotReplies, access?: AccessController): Promise<Handler> {
  const descriptors = descriptorCache(openFactStore({ kind: 'memory' }, silentLogger))
  const driver = inMemoryDriver()
  const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: silentLogger })
  const { manifests, blobs } = store.repository(parseRepositoryName('app'))
  await manifests.put(manifest)
  await blobs.put(largeBlob)
  return api(store, apiOptions({ headers: { 'X-Ours': ['yes'] }, hotReplies, access }))
}

test('an answer is given again for half a second, with its log fields', () => {
  let now = 5
  const hot = new HotReplies(() => now)
  hot.keep(request(), reply, local, hot.generation)
  now += 499
  const again = request({ log: {} })
  const found = hot.find(again)
  assert.ok(found)
  const { holds, ...forAll } = found.forAll
  assert.ok(holds())
  assert.deepEqual([found.reply, forAll], [reply, reply])
  assert.deepEqual(again.log, { kind: 'blob', repository: 'app', reference: digest })
  now += 1
  assert.equal(holds(), false)
  assert.equal(hot.find(request()), undefined)
})

test('P3: an answer that was found holds no longer once a client has changed something', () => {
  const hot = new HotReplies()
  hot.keep(request(), reply, local, hot.generation)
  const found = hot.find(request())
  assert.ok(found)
  assert.ok(found.forAll.holds())
  hot.clear()
  assert.equal(found.forAll.holds(), false)
})

test('P3: only what is here, whole, small and not out of date is kept', () => {
  assert.ok(kept(request()))
  for (const status of [206, 307, 404, 502]) assert.ok(!kept(request(), { ...reply, status }), `${status}`)
  assert.ok(!kept(request(), { ...reply, body: Buffer.alloc(64 * 1024 + 1) }))
  assert.ok(!kept(request(), { ...reply, body: undefined }))
  for (const from of ['upstream', 'fill'] as const) assert.ok(!kept(request(), reply, { from }), from)
  assert.ok(!kept(request(), reply, { from: 'local', warning: 'stale' }))
  for (const kind of ['tags', 'catalog', 'referrers', 'base', 'upload']) {
    assert.ok(!kept(request({ log: { kind, reference: digest } })), kind)
  }
})

test('a body that storage keeps is had from there each time, and asked for where it is kept no longer', () => {
  const hot = new HotReplies()
  let isKept = true
  let given = 0
  const stream = (): ByteStream =>
    Object.assign(streamOf(), { again: () => (isKept ? stream() : undefined), nth: given++ })
  hot.keep(request(), { ...reply, body: stream() }, local, hot.generation)
  const [one, two] = [hot.find(request()), hot.find(request())]
  assert.ok(one !== undefined && two !== undefined)
  assert.equal(one.reply.body, one.forAll.body)
  assert.notEqual(one.reply.body, two.reply.body)
  assert.equal(given, 3)
  isKept = false
  const late = request({ log: {} })
  assert.equal(hot.find(late), undefined)
  assert.deepEqual(late.log, {})
})

test('a large blob that is asked for again and again is answered without a wait, and holds', async () => {
  const handler = await guardedHandler(new HotReplies(() => 0))
  const target = `/v2/app/blobs/${digestOf(largeBlob)}`
  const ask = async (): Promise<boolean> => {
    const answer = handler(request({ target, log: {} }))
    const { status, headers, body, holds } = await answer
    assert.ok(body !== undefined && !(body instanceof Uint8Array))
    assert.deepEqual([status, headers['content-length']], [200, largeBlob.byteLength])
    assert.ok((await collect(body, largeBlob.byteLength)).equals(largeBlob))
    return !(answer instanceof Promise) && holds?.() === true
  }
  const atOnce: boolean[] = []
  for (let time = 0; time < 5; time++) atOnce.push(await ask())
  assert.deepEqual(atOnce, [false, false, false, true, true])
})

test('what is asked with conditions or for a part is answered by itself', () => {
  for (const name of ['if-none-match', 'range', 'if-range', 'expect']) {
    const asked = request({ headers: { [name]: 'x' } })
    assert.ok(!kept(asked), name)
    const hot = new HotReplies()
    hot.keep(request(), reply, local, hot.generation)
    assert.equal(hot.find(asked), undefined, name)
  }
  for (const method of ['HEAD', 'PUT', 'DELETE']) assert.ok(!kept(request({ method })), method)
})

test('other queries and other Accept have other answers', () => {
  const hot = new HotReplies()
  hot.keep(request({ headers: { accept: 'a' } }), reply, local, hot.generation)
  assert.ok(hot.find(request({ headers: { accept: 'a' } })))
  assert.equal(hot.find(request({ headers: { accept: 'b' } })), undefined)
  assert.equal(hot.find(request()), undefined)
  assert.equal(hot.find(request({ target: '/v2/app/blobs/x?ns=y', headers: { accept: 'a' } })), undefined)
})

test('a tag is kept where it is a copy, and not where another server may move it', () => {
  const log = { kind: 'manifest', repository: 'app', reference: 'latest' }
  assert.ok(!kept(request({ log })))
  assert.ok(kept(request({ log }), reply, { from: 'local', upstream: 'ghcr.io' }))
  assert.ok(kept(request({ log: { ...log, reference: digest } })))
})

test('after a push or a deletion nothing is given again, nor kept of what was asked before', () => {
  const hot = new HotReplies()
  const before = hot.generation
  hot.keep(request(), reply, local, before)
  hot.clear()
  assert.equal(hot.find(request()), undefined)
  hot.keep(request(), reply, local, before)
  assert.equal(hot.find(request()), undefined)
})

test('what a request knows of itself stays', () => {
  const hot = new HotReplies()
  hot.keep(request({ log: { kind: 'blob', reference: digest, trace: 'one' } }), reply, local, hot.generation)
  const again = request({ log: { trace: 'two' } })
  assert.ok(hot.find(again))
  assert.deepEqual(again.log, { kind: 'blob', reference: digest, trace: 'two' })
})

test('P8: what is kept of a log line is of the content alone', () => {
  const hot = new HotReplies()
  const log = { kind: 'blob', repository: 'app', reference: digest, from: 'local', upstream: 'ghcr.io' }
  const one = request({ log: { ...log, user: 'one', trace: 'its own', client: '192.0.2.1' } })
  hot.keep(one, reply, { ...local, user: 'one' }, hot.generation)
  const again = request({ log: {} })
  assert.ok(hot.find(again))
  assert.deepEqual(again.log, log)
})

test('P8: nobody inherits a user or a challenge, and no answer is kept for longer by being given again', async () => {
  let now = 0
  const hot = new HotReplies(() => now)
  const handler = await guardedHandler(hot, {
    authorize: async ({ authorization }) =>
      authorization === undefined
        ? { isGranted: true, user: undefined, challenge: 'Ours' }
        : { isGranted: true, user: authorization },
  })
  const found = mock.method(hot, 'find')
  const send = async (authorization?: string): Promise<unknown> => {
    const headers = authorization === undefined ? {} : { authorization }
    const asked = request({ target: `/v2/app/manifests/${manifestDigest}`, headers, log: {} })
    const { status, headers: got, body, holds } = await handler(asked)
    assert.deepEqual([status, got['x-ours'], body], [200, ['yes'], manifest])
    assert.equal(holds, undefined, 'nobody else may have it unasked')
    assert.equal(asked.log['reference'], manifestDigest)
    return [asked.log['user'], got['www-authenticate'], found.mock.calls.at(-1)?.result !== undefined]
  }
  assert.deepEqual(await send(), [undefined, 'Ours', false])
  assert.deepEqual(await send('one'), ['one', undefined, true])
  assert.deepEqual(await send('two'), ['two', undefined, true])
  now += 499
  assert.deepEqual(await send(), [undefined, 'Ours', true])
  now += 1
  assert.deepEqual(await send('one'), ['one', undefined, false])
  assert.deepEqual(await send(), [undefined, 'Ours', true])
})

test('P7: memory is bounded, also where clients make up queries', () => {
  assert.ok(!kept(request({ target: `/v2/app/blobs/x?${'q'.repeat(1024)}` })))
  assert.ok(!kept(request({ headers: { accept: 'a'.repeat(1024) } })))
  const hot = new HotReplies()
  const large = { ...reply, body: Buffer.alloc(60_000) }
  for (let at = 0; at < 1000; at += 1) hot.keep(request({ target: `/${at}` }), large, local, hot.generation)
  let found = 0
  for (let at = 0; at < 1000; at += 1) if (hot.find(request({ target: `/${at}` })) !== undefined) found += 1
  assert.ok(found > 200 && found < 300, `${found}`)
})

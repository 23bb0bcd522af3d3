// The decorator by itself: whose requests it tells of, and when.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { envelopeOf, type Event } from '../../src/events/event.ts'
import { events } from '../../src/events/registry.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { Trace } from '../../src/registry/call.ts'
import type { Registry } from '../../src/registry/registry.ts'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { pullOf } from './publishing.ts'
import { streamOf } from '../support/stream-of.ts'

const name = parseRepositoryName('a')
const bytes = Buffer.from('a blob')
const digest = digestOf(bytes)

async function open(): Promise<{ readonly local: LocalStore; readonly registry: Registry; readonly told: Event[] }> {
  const local = openLocalRegistry({
    driver: inMemoryDriver(),
    descriptors: descriptorCache(openFactStore({ kind: 'memory' }, silentLogger)),
    deleteEnabled: true,
    logger: silentLogger,
  })
  await local.repository(name).blobs.put(bytes)
  const told: Event[] = []
  return { local, registry: events(local, { publish: (event) => told.push(event), includeReferences: false }), told }
}

function traceOf(user?: string): Trace {
  const trace: Trace = { from: 'local', request: pullOf('v1').request }
  if (user !== undefined) trace.user = user
  return trace
}

test('what is done without a client is not told, and costs nothing', async () => {
  const { local, told } = await open()
  const plain = local.repository(name)
  const registry = events({ ...wrapped(local), repository: () => plain, writable: () => plain }, optionsFor(told))
  assert.equal(registry.repository(name), plain)
  assert.equal(registry.repository(name, { trace: {} }), plain)
  assert.equal(registry.writable(name), plain)
  await registry.writable(name).blobs.put(Buffer.from('another'))
  assert.deepEqual(told, [])
})

function wrapped(local: LocalStore): Registry {
  return {
    repository: (one) => local.repository(one),
    writable: (...call) => local.writable(...call),
    removable: (...call) => local.removable(...call),
    place: (one) => local.place(one),
    holderOf: (one) => local.holderOf(one),
    list: (call) => local.list(call),
  }
}

function optionsFor(told: Event[]): Parameters<typeof events>[1] {
  return { publish: (event) => told.push(event), includeReferences: false }
}

test('an event says who has asked, where that was proven', async () => {
  const { registry, told } = await open()
  const trace = traceOf('jane')
  await registry.repository(name, { trace }).blobs.stat(digest)
  trace.answered?.(200)
  const [event = assert.fail()] = told
  const source = { addr: 'a:5000', instanceID: 'b' }
  const envelope = JSON.parse(envelopeOf(event, source, new Date())) as { events: { actor: object; source: object }[] }
  assert.deepEqual([envelope.events[0]?.actor, envelope.events[0]?.source], [{ name: 'jane' }, source])
})

test('a pull is told when it is answered and its last byte was taken, in either order', async () => {
  for (const isAnsweredFirst of [true, false]) {
    const { registry, told } = await open()
    const trace = traceOf()
    const { body } = await registry.repository(name, { trace }).blobs.open(digest)
    if (isAnsweredFirst) trace.answered?.(200)
    assert.equal(told.length, 0)
    assert.ok((await collect(body, 100)).equals(bytes))
    assert.equal(told.length, isAnsweredFirst ? 1 : 0)
    if (!isAnsweredFirst) trace.answered?.(200)
    assert.equal(told.length, 1)
  }
})

test('what was pushed or deleted is told even where the client left before it heard of it; a pull is not', async () => {
  const { registry, told } = await open()
  const pulling = traceOf()
  await registry.repository(name, { trace: pulling }).blobs.stat(digest)
  pulling.answered?.(undefined)
  assert.equal(told.length, 0)
  const pushing = traceOf()
  await using upload = await registry.writable(name, { trace: pushing }).uploads.create()
  await upload.append(streamOf(Buffer.from('pushed')))
  await upload.commit(digestOf('pushed'))
  pushing.answered?.(undefined)
  const deleting = traceOf()
  await registry.removable(name, { trace: deleting }).blobs.delete(digest)
  deleting.answered?.(500)
  assert.deepEqual(
    told.map(({ action, target }) => [action, target.digest]),
    [
      ['push', digestOf('pushed')],
      ['delete', digest],
    ],
  )
})

test('a body that is released before its end is released beneath, too', async () => {
  const { local, told } = await open()
  let released = 0
  const source: Registry = {
    ...wrapped(local),
    repository(one) {
      const repository = local.repository(one)
      const blobs = {
        stat: repository.blobs.stat.bind(repository.blobs),
        async open(...call: Parameters<typeof repository.blobs.open>) {
          const opened = await repository.blobs.open(...call)
          const { body } = opened
          const chunks = async function* (): AsyncGenerator<Uint8Array, void> {
            yield* body
          }
          const dispose = async (): Promise<void> => {
            released += 1
            await body[Symbol.asyncDispose]()
          }
          return { ...opened, body: { [Symbol.asyncIterator]: chunks, [Symbol.asyncDispose]: dispose } }
        },
      }
      return { ...repository, blobs }
    },
  }
  const trace = traceOf()
  const { body } = await events(source, optionsFor(told)).repository(name, { trace }).blobs.open(digest)
  await body[Symbol.asyncDispose]()
  trace.answered?.(200)
  assert.equal(released, 1)
  assert.deepEqual(told, [])
})

// The queue's file: it outlives its process, and no state of it keeps a server from starting.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { EventQueue } from '../../src/events/queue.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { reply } from '../support/scripted-server.ts'
import { replaceCalls } from '../support/system-calls.ts'
import { publisherTo, type PublisherUnderTest } from './publishing.ts'
import { startSink } from './sink.ts'

const nowhere = { url: new URL('http://127.0.0.1:1/') }

async function written(under: PublisherUnderTest, events: number): Promise<void> {
  while (under.publisher.counts()[0]?.events !== events) await new Promise(setImmediate)
}

test('events that were not delivered wait for the next start, in their order', async () => {
  await using folder = await temporaryFolder()
  {
    await using under = publisherTo([nowhere], { folder: folder.path })
    under.publish('a', 'b', 'c')
  }
  await using sink = await startSink()
  await using under = publisherTo([sink], { folder: folder.path })
  assert.equal(under.publisher.counts()[0]?.pending, 3)
  under.publish('d')
  const told = await sink.until(4)
  assert.deepEqual(
    told.map(({ target }) => target['tag']),
    ['a', 'b', 'c', 'd'],
  )
})

test('what was delivered does not come again, and its room is given back', async () => {
  await using folder = await temporaryFolder()
  await using sink = await startSink()
  {
    await using under = publisherTo([sink], { folder: folder.path })
    for (let index = 0; index < 200; index += 1) under.publish(`v${index}`)
    await sink.until(200)
  }
  const { size } = await stat(join(folder.path, 'queue-0.sqlite'))
  assert.ok(size < 64 * 1024, `${size}`)
  await using under = publisherTo([sink], { folder: folder.path })
  under.publish('last')
  assert.equal((await sink.until(201)).at(-1)?.target['tag'], 'last')
})

test('each process has a file of its own, and what a dead one has left is delivered by another', async () => {
  await using folder = await temporaryFolder()
  {
    await using first = publisherTo([nowhere], { folder: folder.path })
    await using second = publisherTo([nowhere], { folder: folder.path })
    first.publish('a')
    second.publish('b')
    await written(first, 1)
    await written(second, 1)
    const files = (await readdir(folder.path)).filter((name) => name.endsWith('.sqlite'))
    assert.deepEqual(files, ['queue-0.sqlite', 'queue-1.sqlite'])
  }
  await using sink = await startSink()
  await using under = publisherTo([sink], { folder: folder.path })
  const told = await sink.until(2)
  assert.deepEqual(
    told.map(({ target }) => target['tag']),
    ['a', 'b'],
  )
  assert.deepEqual(
    (await readdir(folder.path)).filter((name) => name.startsWith('queue-1')),
    [],
  )
  assert.ok(!under.lines.some(({ level }) => level === 'warn'))
})

test('events of an endpoint that is configured no more are forgotten', async () => {
  await using folder = await temporaryFolder()
  {
    await using under = publisherTo([{ ...nowhere, name: 'gone' }, nowhere], { folder: folder.path })
    under.publish('a', 'b')
  }
  await using sink = await startSink()
  await using under = publisherTo([{ ...sink, name: 'sink 1' }], { folder: folder.path })
  await sink.until(2)
  assert.deepEqual(
    under.lines.map(({ msg, events }) => [msg, events]),
    [['events of endpoints that are no more are forgotten', 2]],
  )
})

test('the file is not for everybody to read (T-74)', async () => {
  await using folder = await temporaryFolder()
  await using under = publisherTo([nowhere], { folder: join(folder.path, 'events') })
  under.publish('a')
  await written(under, 1)
  for (const name of ['.', 'queue-0.sqlite', 'queue-0.sqlite-wal']) {
    assert.equal((await stat(join(folder.path, 'events', name))).mode & 0o007, 0, name)
  }
})

const damages: readonly (readonly [what: string, damage: (bytes: Buffer) => Buffer])[] = [
  ['garbage', (bytes) => Buffer.alloc(bytes.byteLength, 'garbage ')],
  ['zeros', (bytes) => Buffer.alloc(bytes.byteLength)],
  ['empty', () => Buffer.alloc(0)],
  ['torn', (bytes) => bytes.subarray(0, bytes.byteLength / 2)],
]

for (const [what, damage] of damages) {
  test(`T-41, P9: a queue that is ${what} is thrown away, and events are told on`, async () => {
    await using folder = await temporaryFolder()
    {
      await using under = publisherTo([nowhere], { folder: folder.path })
      for (let index = 0; index < 50; index += 1) under.publish(`v${index}`)
    }
    const file = join(folder.path, 'queue-0.sqlite')
    await writeFile(file, damage(await readFile(file)))
    await using sink = await startSink()
    await using under = publisherTo([sink], { folder: folder.path })
    under.publish('new')
    while (sink.told.at(-1)?.target['tag'] !== 'new') await sink.until(sink.told.length + 1)
    assert.equal(under.publisher.counts()[0]?.dropped, 0)
  })
}

test('T-41, P9: wherever a queue is damaged, the next server starts with a file', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'queue-0.sqlite')
  {
    await using under = publisherTo([nowhere], { folder: folder.path })
    for (let index = 0; index < 200; index += 1) under.publish(`v${index}`)
  }
  const whole = await readFile(file)
  const page = 4096
  let damaged = 0
  for (let start = page; start < whole.byteLength; start += page) {
    await writeFile(file, Buffer.from(whole).fill('rotten', start, start + page))
    await using under = publisherTo([nowhere], { folder: folder.path })
    under.publish('new')
    await written(under, 1)
    const messages = under.lines.map(({ msg }) => msg)
    assert.ok(!messages.some((message) => /memory/.test(String(message))), `${start}: ${messages.join()}`)
    if (messages.includes('damaged queue of events thrown away')) damaged += 1
  }
  assert.ok(damaged > 1, `${damaged}`)
})

test('P9: a damaged queue that a dead process has left is thrown away with a word, and keeps nobody from a file', async () => {
  await using folder = await temporaryFolder()
  {
    await using first = publisherTo([nowhere], { folder: folder.path })
    await using second = publisherTo([nowhere], { folder: folder.path })
    first.publish('a')
    second.publish('b')
    await written(first, 1)
    await written(second, 1)
  }
  const left = join(folder.path, 'queue-1.sqlite')
  await writeFile(left, Buffer.alloc((await stat(left)).size, 'rotten'))
  await using under = publisherTo([nowhere], { folder: folder.path })
  assert.equal(under.publisher.counts()[0]?.pending, 1)
  assert.deepEqual(
    under.lines.map(({ level, msg }) => [level, msg]),
    [['warn', 'damaged queue of events thrown away']],
  )
  assert.deepEqual(
    (await readdir(folder.path)).filter((name) => name.startsWith('queue-1')),
    [],
  )
})

test('P9: a queue of another version is thrown away', async () => {
  await using folder = await temporaryFolder()
  const database = new DatabaseSync(join(folder.path, 'queue-0.sqlite'))
  database.exec('PRAGMA user_version = 99')
  database.close()
  await using sink = await startSink()
  await using under = publisherTo([sink], { folder: folder.path })
  under.publish('a')
  await sink.until(1)
  assert.ok(under.lines.some(({ msg }) => msg === 'damaged queue of events thrown away'))
})

test('P9: where no file can be made, events wait in memory', async () => {
  await using folder = await temporaryFolder()
  await writeFile(join(folder.path, 'events'), '')
  await using sink = await startSink()
  await using under = publisherTo([sink], { folder: join(folder.path, 'events') })
  under.publish('a')
  await sink.until(1)
  assert.deepEqual(
    under.lines.map(({ level, msg }) => [level, msg]),
    [['warn', 'the queue of events is kept in memory']],
  )
})

test('P9: a file that cannot be opened, as it is another user’s, is passed over with a word, and events wait on disk', async () => {
  await using folder = await temporaryFolder()
  for (const name of ['queue-0.sqlite', 'queue-3.sqlite']) await mkdir(join(folder.path, name)) // also for root
  {
    await using under = publisherTo([nowhere], { folder: folder.path })
    under.publish('a')
    await written(under, 1)
    assert.deepEqual(
      under.lines.map(({ level, msg, path }) => [level, msg, path]),
      [0, 3].map((slot) => {
        return [
          'warn',
          'a file of events cannot be opened: it is passed over',
          join(folder.path, `queue-${slot}.sqlite`),
        ]
      }),
    )
  }
  await using sink = await startSink()
  await using _ = publisherTo([sink], { folder: folder.path })
  const [first] = await sink.until(1)
  assert.equal(first?.target['tag'], 'a')
  assert.deepEqual((await readdir(folder.path)).filter((name) => name.endsWith('.sqlite')).toSorted(), [
    'queue-0.sqlite',
    'queue-1.sqlite',
    'queue-3.sqlite',
  ])
})

test('P9: a queue that rots while it is used is made again, what it held is counted, and events are told on', async () => {
  await using folder = await temporaryFolder()
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  await using sink = await startSink(async (_, response) => {
    await released
    reply(response, 200)
  })
  const bounds = { maxEvents: 10_000, maxSize: 64 * 1024 * 1024 }
  await using under = publisherTo([{ url: sink.url }], { folder: folder.path, bounds })
  const count = 3000 // more than is kept in memory of the file
  for (let index = 0; index < count; index += 1) under.publish(`v${index}`)
  await written(under, count)
  for (const name of ['queue-0.sqlite', 'queue-0.sqlite-wal']) {
    const path = join(folder.path, name)
    await writeFile(path, Buffer.alloc((await stat(path)).size, 'rotten'), { flag: 'r+' })
  }
  release()
  await under.until(({ msg }) => msg === 'the queue of events cannot be read: it is made again in memory')
  under.publish('new')
  while (sink.told.at(-1)?.target['tag'] !== 'new') await sink.until(sink.told.length + 1)
  while (under.publisher.counts()[0]?.pending !== 0) await new Promise(setImmediate)
  const [{ dropped, successes, events } = assert.fail()] = under.publisher.counts()
  assert.ok(dropped > 0)
  assert.equal(events, count + 1)
  assert.ok(dropped + successes >= events && dropped + successes <= events + 1, `${dropped} ${successes}`)
})

test('P9: what a dead process has left is written down here before its file goes', async () => {
  await using folder = await temporaryFolder()
  const event = { endpoint: 'e', kind: 'registry', body: 'canary' }
  {
    using _ = EventQueue.open(folder.path)
    using second = EventQueue.open(folder.path)
    second.add([event])
  }
  const real = fs.rmSync
  let wereHere: boolean | undefined
  using _ = replaceCalls({
    rmSync: (path: string, options: fs.RmOptions) => {
      if (path.endsWith('queue-1.sqlite')) {
        wereHere = fs.readFileSync(join(folder.path, 'queue-0.sqlite-wal')).includes('canary')
      }
      real(path, options)
    },
  })
  using queue = EventQueue.open(folder.path)
  assert.equal(wereHere, true)
  assert.equal(queue.next('e', 0)?.body, 'canary')
})

test('what is told after the queue had to be made again comes, also where a delivery ends only then', async (context) => {
  await using folder = await temporaryFolder()
  const held = Promise.withResolvers<void>()
  await using sink = await startSink(async ({ body }, response) => {
    if (body.includes('"held"')) await held.promise
    reply(response, 200)
  })
  await using under = publisherTo([sink], { folder: folder.path })
  under.publish('a', 'b', 'held')
  await sink.until(3)
  const add = context.mock.method(EventQueue.prototype, 'add', () => {
    add.mock.restore()
    throw Object.assign(new Error('database disk image is malformed'), { errcode: 11 })
  })
  under.publish('new')
  await written(under, 4)
  held.resolve()
  assert.equal((await sink.until(4)).at(-1)?.target['tag'], 'new')
  while (under.publisher.counts()[0]?.successes !== 4) await new Promise(setImmediate)
  assert.equal(under.publisher.counts()[0]?.pending, 0)
})

// The background reading of all that is stored, by a clock in the test's hands.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { deferred, type Deferred } from '../../src/async/deferred.ts'
import { waitFor } from '../../src/async/wait.ts'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError, type StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { blobPath, damagedPath, scrubPath } from '../../src/storage/layout.ts'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import type { ScrubClock } from '../../src/storage/scrub.ts'
import { pattern } from '../drivers/conformance.ts'
import { hasError } from '../support/errors.ts'
import { watchedDriver, type DriverCall } from '../support/faulty-driver.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'
import { manifestOf, name } from './fixture.ts'

const hour = 3_600_000
const day = 24 * hour
const week = 7 * day
const options = { interval: week, rate: 1024 * 1024 }

/** Time passes when somebody sleeps, up to where the test lets it. */
class TestClock implements ScrubClock {
  #now = Date.UTC(2030, 0, 1)
  #until = this.#now
  #more = deferred()
  #asleep: Deferred<void> = deferred()

  now(): number {
    return this.#now
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const end = this.#now + Math.max(0, ms)
    while (end > this.#until) {
      this.#asleep.resolve()
      await waitFor(this.#more.promise, signal)
    }
    this.#now = end
  }

  /** Lets time pass, and resolves when whoever sleeps sleeps longer than that. */
  async pass(ms: number): Promise<void> {
    this.#until = Math.max(this.#now, this.#until) + ms
    this.#asleep = deferred()
    this.#more.resolve()
    this.#more = deferred()
    await this.#asleep.promise
  }
}

interface Setting {
  readonly driver: StorageDriver
  readonly store: LocalStore
  readonly log: Recording
  readonly clock: TestClock
  /** Makes calls of the driver fail. */
  fails: (call: DriverCall) => string | undefined
  /** Blobs whose reading began, in order. */
  readonly read: Digest[]
}

function open(driver: StorageDriver = inMemoryDriver(), clock: TestClock = new TestClock()): Setting {
  const log = recordingLogger()
  const read: Digest[] = []
  const watched = watchedDriver(driver, (call) => {
    const [, hex] = /\/blobs\/sha256\/..\/([0-9a-f]{64})\/data$/.exec(call.path) ?? []
    if (call.method === 'open' && hex !== undefined) read.push(`sha256:${hex}` as Digest)
    const code = setting.fails(call)
    if (code !== undefined) throw new DriverError(code, `${code} at ${call.path}`)
  })
  const descriptors = descriptorCache(openFactStore({ kind: 'memory' }, log.logger))
  const store = openLocalRegistry({ driver: watched, descriptors, deleteEnabled: true, logger: log.logger })
  const setting: Setting = { driver, store, log, clock, fails: () => undefined, read }
  return setting
}

/** Stores some blobs, large and small, and a manifest. */
async function fill({ store }: Setting): Promise<Digest[]> {
  const repository = store.repository(name)
  const digests = [(await repository.manifests.put(manifestOf('a'))).descriptor.digest]
  for (const size of [0, 10, 1000, 100_000, 1_500_000]) {
    digests.push((await repository.blobs.put(pattern(size))).digest)
  }
  return digests.toSorted()
}

function summaries({ log }: Setting): unknown[] {
  return log.lines
    .filter(({ msg }) => msg === 'storage scrubbed')
    .map(({ blobs, bytes, damaged, unreadable }) => ({ blobs, bytes, damaged, unreadable }))
}

const total = manifestOf('a').byteLength + 1_601_010

suite('the scrub', () => {
  test('reads every blob once in each cycle, and says so in one line', async () => {
    const setting = open()
    const digests = await fill(setting)
    await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
    assert.ok(scrub)
    await setting.clock.pass(0)
    assert.deepEqual(setting.read, [], 'not at once')
    await setting.clock.pass(hour)
    assert.deepEqual(setting.read, digests)
    assert.deepEqual(summaries(setting), [{ blobs: 6, bytes: total, damaged: 0, unreadable: 0 }])
    await setting.clock.pass(6 * day)
    assert.equal(setting.read.length, 6)
    await setting.clock.pass(day)
    assert.equal(setting.read.length, 12)
    assert.equal(summaries(setting).length, 2)
  })

  test('P6: sets aside what is wrong, and the next reader is told that it is not here', async () => {
    const damages: readonly ((bytes: Buffer) => Buffer)[] = [
      (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([~(bytes.at(-1) ?? 0)])]),
      (bytes) => bytes.subarray(1),
      (bytes) => Buffer.concat([bytes, bytes]),
      () => Buffer.alloc(0),
    ]
    for (const damage of damages) {
      for (const size of [1000, 100_000]) {
        const setting = open()
        await fill(setting)
        const { blobs } = setting.store.repository(name)
        const bytes = pattern(size)
        const digest = digestOf(bytes)
        await collect((await blobs.open(digest)).body, size) // proven, and in memory where it is small
        await setting.driver.write(blobPath(digest), damage(bytes))
        await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
        assert.ok(scrub)
        await setting.clock.pass(hour)
        const [summary] = summaries(setting) as { damaged: number; blobs: number }[]
        assert.deepEqual([summary?.blobs, summary?.damaged], [6, 1])
        assert.equal(setting.log.lines.filter(({ msg }) => msg === 'damaged blob set aside').length, 1)
        await setting.driver.stat(damagedPath(digest))
        await assert.rejects(blobs.open(digest), hasError('BLOB_UNKNOWN'))
        for (const other of [10, 1_500_000].map((right) => pattern(right))) {
          await collect((await blobs.open(digestOf(other))).body, other.byteLength)
        }
      }
    }
  })

  test('what cannot be read stays, is counted, and no reader is promised it', async () => {
    const setting = open()
    await fill(setting)
    const digest = digestOf(pattern(100_000))
    const { blobs } = setting.store.repository(name)
    await collect((await blobs.open(digest)).body, 100_000)
    setting.fails = ({ method, path }) => (method === 'chunk' && path === blobPath(digest) ? 'EIO' : undefined)
    await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
    assert.ok(scrub)
    await setting.clock.pass(hour)
    const [summary] = summaries(setting) as Record<string, number>[]
    assert.deepEqual([summary?.['blobs'], summary?.['damaged'], summary?.['unreadable']], [6, 0, 1])
    await assert.rejects(blobs.open(digest), { name: 'UnreadableError' })
    setting.fails = () => undefined
    await setting.clock.pass(week)
    assert.equal(summaries(setting).length, 2)
    assert.ok((await collect((await blobs.open(digest)).body, 100_000)).equals(pattern(100_000)))
  })

  test('P7: reads no faster than it may, small blobs counted as 64 KiB', async () => {
    const setting = open()
    await fill(setting)
    await using scrub = setting.store.scrub({ ...options, rate: 64 * 1024, clock: setting.clock })
    assert.ok(scrub)
    await setting.clock.pass(hour)
    const { ms } = setting.log.lines.find(({ msg }) => msg === 'storage scrubbed') ?? {}
    const seconds = (1_600_000 + 4 * 64 * 1024) / (64 * 1024)
    assert.ok(Math.abs(Number(ms) / 1000 - seconds) < 0.01, `${String(ms)} ms, not ${seconds} s`)
  })

  test('a restart goes on where it was, and does not begin a cycle before its time', async () => {
    const driver = inMemoryDriver()
    const before = open(driver)
    const digests = await fill(before)
    const slow = { ...options, rate: 1024 }
    const stopped = before.store.scrub({ ...slow, clock: before.clock })
    await before.clock.pass(11 * 60_000)
    await stopped[Symbol.asyncDispose]()
    const half = before.read.length
    assert.ok(half > 0)
    assert.deepEqual(summaries(before), [])
    const after = open(driver, before.clock)
    const second = after.store.scrub({ ...options, clock: after.clock })
    await after.clock.pass(hour)
    await second[Symbol.asyncDispose]()
    assert.deepEqual(after.read, digests.slice(half - 1), 'the one that was cut is read again')
    assert.deepEqual(summaries(after), [{ blobs: 6, bytes: total, damaged: 0, unreadable: 0 }])
    const third = open(driver, before.clock)
    await using scrub = third.store.scrub({ ...options, clock: third.clock })
    assert.ok(scrub)
    await third.clock.pass(6 * day)
    assert.deepEqual(third.read, [])
    await third.clock.pass(day)
    assert.deepEqual(third.read, digests)
  })

  test('a stop in the middle costs no more than the blob that was being read', async () => {
    const setting = open()
    const digests = await fill(setting)
    const stopped = setting.store.scrub({ ...options, clock: setting.clock })
    // The smallest blob takes 62 ms of this clock: no pass reads two.
    for (let passes = 0; passes < 20_000 && setting.read.length < 3; passes++) await setting.clock.pass(50)
    assert.equal(setting.read.length, 3)
    await stopped[Symbol.asyncDispose]()
    const written = JSON.parse((await setting.driver.read(scrubPath, 4096)).toString()) as { after?: string }
    assert.equal(written.after, digests[1])
  })

  test('P6: a cycle that began at a time to come, by a clock that was set back since, holds up none', async () => {
    const setting = open()
    const digests = await fill(setting)
    const startedAt = setting.clock.now() + 52 * week
    await setting.driver.write(scrubPath, Buffer.from(JSON.stringify({ startedAt, isOver: true })))
    await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
    assert.ok(scrub)
    await setting.clock.pass(hour)
    assert.deepEqual(setting.read, digests)
    await setting.clock.pass(week - 2 * hour)
    assert.deepEqual(setting.read, digests, 'once')
  })

  test('a kill in the middle costs no more than a minute of it', async () => {
    const setting = open()
    const digests = await fill(setting)
    const killed = setting.store.scrub({ ...options, rate: 1024, clock: setting.clock })
    const written = async (): Promise<unknown> =>
      JSON.parse((await setting.driver.read(scrubPath, 4096)).toString()) as unknown
    let after: unknown
    for (let minute = 0; minute < 60 && after === undefined; minute++) {
      await setting.clock.pass(60_000)
      after = await written().then(
        (cycle) => (cycle as { after?: string }).after,
        () => undefined,
      )
    }
    assert.ok(digests.includes(after as Digest))
    await killed[Symbol.asyncDispose]()
  })

  test('P9: what is written down and damaged costs a cycle that begins anew', async () => {
    for (const text of ['', '{', 'null', '[]', '{"startedAt":"x"}', 'x'.repeat(5000), '{"after":"sha256:1"}']) {
      const setting = open()
      const digests = await fill(setting)
      await setting.driver.write(scrubPath, Buffer.from(text))
      await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
      assert.ok(scrub)
      await setting.clock.pass(hour)
      assert.deepEqual(setting.read, digests, text)
    }
  })

  test('where nothing can be written, cycles keep their time all the same', async () => {
    const setting = open()
    await fill(setting)
    setting.fails = ({ path }) => (path === scrubPath ? 'EROFS' : undefined)
    await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
    assert.ok(scrub)
    await setting.clock.pass(6 * day)
    assert.equal(summaries(setting).length, 1)
    const { length } = setting.log.lines.filter(({ level }) => level === 'warn')
    assert.ok(length <= 3, `${length} lines`)
    await setting.clock.pass(week)
    assert.equal(summaries(setting).length, 2)
  })

  test('folders that are empty, strange or unreadable hold it up no more than what is gone meanwhile', async () => {
    const setting = open()
    const digests = await fill(setting)
    const { driver } = setting
    const empty = blobPath(digestOf('collected'))
    await driver.write(empty, Buffer.from('x'))
    await driver.remove(empty)
    await driver.write('/docker/registry/v2/blobs/sha256/zz/stranger', Buffer.from('x'))
    await driver.write('/docker/registry/v2/blobs/sha256/file', Buffer.from('x'))
    await driver.write(`${blobPath(digestOf('a folder'))}/inner`, Buffer.from('x'))
    const gone = digests[3] ?? digestOf('')
    setting.fails = ({ method, path }) => {
      if (method === 'list' && path.endsWith('/zz')) return 'EIO'
      if (method === 'stat' && path === blobPath(gone)) void driver.remove(path)
      return undefined
    }
    await using scrub = setting.store.scrub({ ...options, clock: setting.clock })
    assert.ok(scrub)
    await setting.clock.pass(hour)
    const [summary] = summaries(setting) as Record<string, number>[]
    assert.deepEqual([summary?.['blobs'], summary?.['damaged']], [6, 1], 'the folder in a place of a blob is damage')
    assert.deepEqual(
      setting.read,
      digests.filter((digest) => digest !== gone),
    )
  })

  test('P4: nobody who pulls waits for it', async () => {
    const setting = open()
    await fill(setting)
    const digest = digestOf(pattern(1_500_000))
    await using scrub = setting.store.scrub({ ...options, rate: 65_536, clock: setting.clock })
    assert.ok(scrub)
    let isReading = false
    for (let step = 0; step < 2000 && !isReading; step++) {
      await setting.clock.pass(1000)
      isReading = setting.read.at(-1) === digest
    }
    assert.ok(isReading && summaries(setting).length === 0, 'it sleeps in the middle of the blob')
    const { body } = await setting.store.repository(name).blobs.open(digest)
    assert.ok((await collect(body, 1_500_000)).equals(pattern(1_500_000)))
  })
})

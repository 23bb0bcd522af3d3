// The first reading of stored files: one proof for all who read, whose bytes come before it ends.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { collect, type ByteStream } from '../../src/bytes/stream.ts'
import type { FileRange, OpenFile, StorageDriver } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { deferred } from '../../src/async/deferred.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { BlobStore } from '../../src/registry/store.ts'
import { blobPath, damagedPath } from '../../src/storage/layout.ts'
import { pattern } from '../drivers/conformance.ts'
import { hasError } from '../support/errors.ts'
import { name, openStore, push } from './fixture.ts'

const size = 1024 * 1024
const bytes = pattern(size)
const digest = digestOf(bytes)

/** A restarted process, whose reading for proof begins when the test says so. */
class SlowProof {
  readonly blobs: BlobStore
  readonly driver: StorageDriver
  readonly #go = deferred()
  /** Whole files that were opened without a range, as only a proof does. */
  proofs = 0
  open = 0

  private constructor(driver: StorageDriver) {
    this.driver = driver
    const watched: StorageDriver = Object.create(driver, {
      name: { value: driver.name },
      open: { value: async (path: string, range?: FileRange) => await this.#open(path, range) },
    })
    for (const method of ['stat', 'read', 'write', 'writer', 'move', 'remove', 'list'] as const) {
      Object.defineProperty(watched, method, { value: driver[method].bind(driver) })
    }
    this.blobs = openStore(watched).repository(name).blobs
  }

  static async make(stored: Buffer = bytes): Promise<SlowProof> {
    const driver = inMemoryDriver()
    await push(openStore(driver).repository(name), bytes)
    if (stored !== bytes) await driver.write(blobPath(digest), stored)
    return new SlowProof(driver)
  }

  /** Lets the reading for proof begin. */
  go(): void {
    this.#go.resolve()
  }

  async #open(path: string, range: FileRange | undefined): Promise<OpenFile> {
    const file = await this.driver.open(path, range)
    this.open++
    if (range === undefined) this.proofs++
    let isOver = false
    const over = (): void => {
      if (!isOver) this.open--
      isOver = true
    }
    const held = range === undefined ? this.#go.promise : undefined
    async function* read(): AsyncGenerator<Uint8Array, void> {
      await held
      try {
        yield* file
      } finally {
        over()
      }
    }
    const chunks = read()
    return {
      size: file.size,
      version: file.version,
      [Symbol.asyncIterator]: () => chunks,
      [Symbol.asyncDispose]: async () => {
        over()
        if (held === undefined) await chunks.return()
        await file[Symbol.asyncDispose]()
      },
    }
  }
}

/** Reads until the stream has nothing to say for now; the rest when it has. */
async function begin(body: ByteStream): Promise<{ readonly head: Buffer; readonly rest: Promise<Buffer> }> {
  const iterator = body[Symbol.asyncIterator]()
  const first = await iterator.next()
  assert.ok(first.done !== true)
  const head = Buffer.from(first.value)
  const rest = collect({ [Symbol.asyncIterator]: () => iterator }, size)
  rest.catch(() => {})
  return { head, rest }
}

/** Whether a promise is settled once everything that can happen by itself has happened. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const settle = (): void => void (settled = true)
  promise.then(settle, settle)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  return settled
}

suite('a file that nobody has proven', () => {
  test('its bytes come before the proof, but not the last of them, whole and in ranges', async () => {
    const slow = await SlowProof.make()
    const whole = await begin((await slow.blobs.open(digest)).body)
    const part = await begin((await slow.blobs.open(digest, { range: { start: 5, end: 600_000 } })).body)
    assert.ok(whole.head.equals(bytes.subarray(0, whole.head.byteLength)))
    assert.ok(part.head.equals(bytes.subarray(5, 5 + part.head.byteLength)))
    assert.equal(await isSettled(Promise.race([whole.rest, part.rest])), false)
    slow.go()
    assert.ok(Buffer.concat([whole.head, await whole.rest]).equals(bytes))
    assert.ok(Buffer.concat([part.head, await part.rest]).equals(bytes.subarray(5, 600_000)))
    assert.equal(slow.proofs, 1)
    assert.equal(slow.open, 0)
  })

  test('P4: fifty readers share one proof, and the next one needs none', async () => {
    const slow = await SlowProof.make()
    slow.go()
    const read = async (): Promise<Buffer> => await collect((await slow.blobs.open(digest)).body, size)
    for (const found of await Promise.all(Array.from({ length: 50 }, read))) assert.ok(found.equals(bytes))
    assert.equal(slow.proofs, 1)
    await read()
    assert.equal(slow.proofs, 1)
  })

  test('P6: where it is wrong all readers fail, it is set aside, and is unknown from then on', async () => {
    const wrong = Buffer.from(bytes)
    wrong[size - 1] = 255 - (wrong[size - 1] ?? 0)
    const slow = await SlowProof.make(wrong)
    const readers = [
      await begin((await slow.blobs.open(digest)).body),
      await begin((await slow.blobs.open(digest, { range: { start: 0, end: 600_000 } })).body),
    ]
    slow.go()
    for (const { rest } of readers) await assert.rejects(rest, { name: 'DigestMismatchError' })
    await assert.rejects(slow.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
    await assert.rejects(slow.blobs.open(digest), hasError('BLOB_UNKNOWN'))
    assert.equal((await slow.driver.stat(damagedPath(digest))).size, size)
    assert.equal(slow.open, 0)
  })

  test('the proof goes on while one reader is left, and ends with the last', async () => {
    const slow = await SlowProof.make()
    const first = await slow.blobs.open(digest)
    const second = await slow.blobs.open(digest)
    await first.body[Symbol.asyncDispose]()
    assert.equal(await isSettled(Promise.resolve()), true)
    assert.equal(slow.open, 2) // the second reader's, and the proof's
    await second.body[Symbol.asyncDispose]()
    await isSettled(Promise.resolve())
    assert.equal(slow.open, 0)
    slow.go()
    assert.ok((await collect((await slow.blobs.open(digest)).body, size)).equals(bytes)) // anew
    assert.equal(slow.proofs, 2)
  })

  test('a reader that waits for the proof can be disposed, and its signal ends it', async () => {
    const slow = await SlowProof.make()
    const range = { start: 0, end: 10 }
    const { body } = await slow.blobs.open(digest, { range })
    const waiting = body[Symbol.asyncIterator]().next()
    waiting.catch(() => {})
    assert.equal(await isSettled(waiting), false)
    await body[Symbol.asyncDispose]()
    await assert.rejects(waiting, /the reader has left/)
    const leaving = new AbortController()
    const signalled = await slow.blobs.open(digest, { range, signal: leaving.signal })
    const collecting = collect(signalled.body, 10)
    collecting.catch(() => {})
    assert.equal(await isSettled(collecting), false)
    leaving.abort(new Error('gone'))
    await assert.rejects(collecting, /gone/)
    await isSettled(Promise.resolve())
    assert.equal(slow.open, 0)
  })

  test('more readers than proofs at once leave nothing open when they go', async () => {
    const driver = inMemoryDriver()
    const blobs = Array.from({ length: 8 }, (_, at) => pattern(70_000 + at))
    const digests: Digest[] = []
    for (const blob of blobs) digests.push(await push(openStore(driver).repository(name), blob))
    const { blobs: restarted } = openStore(driver).repository(name)
    const opened = await Promise.all(digests.map(async (each) => await restarted.open(each)))
    await Promise.all(opened.map(async ({ body }) => await body[Symbol.asyncDispose]()))
    for (const [at, each] of digests.entries()) {
      assert.ok((await collect((await restarted.open(each)).body, size)).equals(blobs[at] ?? Buffer.alloc(0)))
    }
  })
})

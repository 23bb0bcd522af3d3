import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SharedBlocks, type Lease, type ReadFrom } from '../../src/drivers/shared-blocks.ts'
import { seeded } from '../support/seeded.ts'

const size = 16

/** A file in the test's hands. */
class Source {
  bytes: Buffer
  reads: number[] = []
  failure: Error | undefined
  readonly read: ReadFrom = async (into, position) => {
    this.reads.push(position)
    await Promise.resolve()
    if (this.failure !== undefined) throw this.failure
    return this.bytes.copy(into, 0, position)
  }

  constructor(length: number) {
    this.bytes = Buffer.from(Array.from({ length }, (_, at) => at % 251))
  }
}

function sharedBlocks(budget = 4 * size, kept = size): SharedBlocks {
  return new SharedBlocks({ size, budget, kept, crowd: 2 }, [{ size: 4, most: Infinity, kept: 4 }])
}

async function textOf({ bytes }: Lease): Promise<string> {
  return Buffer.from(await bytes).toString('hex')
}

test('readers of one file share what is read of it', async () => {
  const source = new Source(40)
  const blocks = sharedBlocks()
  const readers = Array.from({ length: 5 }, () => blocks.join('file', { version: 'a', size: 40 }, source.read))
  const leases = readers.map((reader, at) => reader.take(at, 40))
  for (const [at, lease] of leases.entries()) {
    assert.equal(await textOf(lease), source.bytes.subarray(at, size).toString('hex'))
  }
  assert.deepEqual(source.reads, [0])
  for (const lease of leases) lease.end()
  const later = readers[0]?.take(3, 40)
  assert.ok(later !== undefined)
  await later.bytes
  assert.deepEqual(source.reads, [0], 'it stays while others read the file')
  later.end()
})

test('files do not share, and a file that nobody reads any more is forgotten', async () => {
  const [one, other] = [new Source(40), new Source(40)]
  other.bytes.fill(7)
  const blocks = sharedBlocks()
  for (const [name, source] of [
    ['one', one],
    ['other', other],
    ['one', other],
  ] as const) {
    const reader = blocks.join(name, { version: 'a', size: 40 }, source.read)
    const lease = reader.take(0, 40)
    assert.equal(await textOf(lease), source.bytes.subarray(0, size).toString('hex'))
    lease.end()
    reader.leave()
    reader.leave()
  }
})

test('a lone reader gets the same memory again and again', async () => {
  const source = new Source(1000)
  const reader = sharedBlocks().join('file', { version: 'a', size: 1000 }, source.read)
  const seen = new Set<ArrayBufferLike>()
  for (let at = 0; at < 960; at += size) {
    const lease = reader.take(at, 1000)
    seen.add((await lease.bytes).buffer)
    lease.end()
  }
  assert.equal(seen.size, 1)
})

test('a block that was read when the file was shorter is read again', async () => {
  const source = new Source(10)
  const blocks = sharedBlocks()
  const early = blocks.join('file', { version: 'a', size: 10 }, source.read)
  const first = early.take(0, 10)
  assert.equal((await first.bytes).byteLength, 10)
  source.bytes = new Source(40).bytes
  const late = blocks.join('file', { version: 'a', size: 40 }, source.read)
  const second = late.take(5, 40) // while the short reading is held: by itself
  assert.equal(await textOf(second), source.bytes.subarray(5, 9).toString('hex'))
  first.end()
  second.end()
  const third = late.take(5, 40)
  assert.equal(await textOf(third), source.bytes.subarray(5, size).toString('hex'))
  third.end()
})

test('P1: nothing is shared with those who opened the file before it was changed where it is', async () => {
  const source = new Source(40)
  const blocks = sharedBlocks()
  const early = blocks.join('file', { version: 'a', size: 40 }, source.read)
  const first = early.take(0, 40)
  const old = await textOf(first)
  source.bytes = Buffer.alloc(40, 7)
  const late = blocks.join('file', { version: 'b', size: 40 }, source.read)
  const second = late.take(0, 40)
  assert.equal(await textOf(second), '07070707')
  assert.equal(await textOf(first), old)
  first.end()
  second.end()
  const third = late.take(0, 40)
  assert.equal((await third.bytes).byteLength, size)
  assert.equal(Buffer.from(await third.bytes)[0], 7)
  third.end()
})

test('what fails is heard by all who wait for it, and tried anew by the next', async () => {
  const source = new Source(40)
  const blocks = sharedBlocks()
  const readers = [
    blocks.join('file', { version: 'a', size: 40 }, source.read),
    blocks.join('file', { version: 'a', size: 40 }, source.read),
  ]
  source.failure = new Error('EIO')
  const leases = readers.map((reader) => reader.take(0, 40))
  for (const lease of leases) {
    await assert.rejects(lease.bytes, source.failure)
    lease.end()
  }
  source.failure = undefined
  const lease = readers[1]?.take(0, 40)
  assert.equal((await lease?.bytes)?.byteLength, size)
  lease?.end()
})

test('P7: memory is bounded: beyond the budget each reads by itself, a little at a time', async () => {
  const source = new Source(1000)
  const blocks = sharedBlocks(4 * size)
  const readers = Array.from({ length: 20 }, () => blocks.join('file', { version: 'a', size: 1000 }, source.read))
  const leases = readers.map((reader, index) => reader.take(index * size, 1000))
  const held = await Promise.all(leases.map(async ({ bytes }) => (await bytes).buffer.byteLength))
  assert.deepEqual(
    held.filter((length) => length === size).length,
    4,
    'as many blocks as the budget has, the rest in small buffers',
  )
  assert.ok(held.every((length) => length === size || length === 4))
  for (const lease of leases) lease.end()
  const again = readers[9]?.take(900, 1000) // a block that rests makes room
  assert.equal((await again?.bytes)?.buffer.byteLength, size)
  again?.end()
})

test('P7: many who want no more than a few bytes of one block share them too', async () => {
  const source = new Source(40)
  const blocks = sharedBlocks()
  const readers = [0, 1, 2, 3].map(() => blocks.join('file', { version: 'a', size: 40 }, source.read))
  const [first, ...others] = readers.map((reader) => reader.take(13, 15))
  assert.equal((await first?.bytes)?.buffer.byteLength, 4, 'nobody knows yet that others want them')
  for (const lease of others) {
    assert.equal(await textOf(lease), source.bytes.subarray(13, 15).toString('hex'))
    assert.equal((await lease.bytes).buffer.byteLength, size)
  }
  assert.deepEqual(source.reads, [13, 0], 'the block is read once')
  const [last] = readers
  for (const reader of readers.slice(1)) reader.leave()
  const lent = last?.take(15, 16)
  assert.equal((await lent?.bytes)?.buffer.byteLength, size, 'one who is alone takes them from the block that is here')
  for (const lease of [first, ...others, lent]) lease?.end()
})

test('a few bytes here and there are read by themselves, however many read the file', async () => {
  const source = new Source(80)
  const blocks = sharedBlocks()
  const readers = [0, 1, 2, 3, 4].map(() => blocks.join('file', { version: 'a', size: 80 }, source.read))
  for (const [index, reader] of readers.entries()) {
    const at = index * size + 3
    const lease = reader.take(at, at + 4)
    assert.equal((await lease.bytes).buffer.byteLength, 4, 'a buffer of its own')
    assert.equal(await textOf(lease), source.bytes.subarray(at, at + 4).toString('hex'))
    lease.end()
  }
  assert.deepEqual(
    source.reads,
    readers.map((_, index) => index * size + 3),
  )
})

test('a small file takes up no block, however many read it', async () => {
  const source = new Source(4)
  const blocks = sharedBlocks()
  const readers = [0, 1, 2].map(() => blocks.join('file', { version: 'a', size: 4 }, source.read))
  const leases = readers.map((reader) => reader.take(0, 4))
  for (const lease of leases) {
    assert.equal((await lease.bytes).buffer.byteLength, 4)
    lease.end()
  }
})

test('P1: whoever reads whatever part, together with whomever, gets the bytes of the file', async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seeded(seed)
    const below = (limit: number): number => random.int(limit)
    const source = new Source(50 + below(300))
    const blocks = sharedBlocks(size * (1 + below(6)), size * below(3))
    const readOne = async (): Promise<void> => {
      const known = source.bytes.byteLength
      const reader = blocks.join('file', { version: 'a', size: known }, source.read)
      const start = below(known)
      const end = start + 1 + below(known - start)
      const held: { lease: Lease; bytes: Uint8Array; from: number }[] = []
      const endOldest = (): void => {
        const oldest = held.shift()
        if (oldest === undefined) return
        const { lease, bytes, from } = oldest
        assert.deepEqual(Buffer.from(bytes), source.bytes.subarray(from, from + bytes.byteLength), 'as long as held')
        lease.end()
      }
      let at = start
      while (at < end) {
        const lease = reader.take(at, end)
        const bytes = await lease.bytes
        held.push({ lease, bytes, from: at })
        for (let turn = below(4); turn > 0; turn -= 1) await Promise.resolve()
        assert.deepEqual(Buffer.from(bytes), source.bytes.subarray(at, at + bytes.byteLength), `seed ${seed} at ${at}`)
        assert.ok(bytes.byteLength > 0 && at + bytes.byteLength <= end)
        at += bytes.byteLength
        if (held.length > below(3)) endOldest()
        if (below(40) === 0) break
        if (below(20) === 0) source.bytes = new Source(source.bytes.byteLength + below(50)).bytes
      }
      while (held.length > 0) endOldest()
      reader.leave()
    }
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let time = 0; time < 20; time += 1) await readOne()
      }),
    )
  }
})

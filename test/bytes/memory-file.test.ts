import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { MemoryFileStream, type MemoryFile } from '../../src/bytes/memory-file.ts'
import { collect, type ByteTarget } from '../../src/bytes/stream.ts'
import { temporaryFolder } from '../support/real-parts.ts'

const size = 1024 * 1024
const content = randomBytes(size)

interface OpenFile extends AsyncDisposable {
  readonly file: MemoryFile
}

/** A file on a disk, which is read as one in memory is. */
async function openFile(bytes: Uint8Array): Promise<OpenFile> {
  const folder = await temporaryFolder()
  await writeFile(join(folder.path, 'file'), bytes)
  const fd = openSync(join(folder.path, 'file'), 'r')
  return {
    file: { fd, isInMemory: true, [Symbol.dispose]: () => closeSync(fd) },
    async [Symbol.asyncDispose]() {
      closeSync(fd)
      await folder[Symbol.asyncDispose]()
    },
  }
}

interface Taken extends ByteTarget {
  readonly bytes: Buffer[]
  readonly written: number[]
}

/** Takes what is sent as long as `most` gives it room. */
function target(most: () => number): Taken {
  const bytes: Buffer[] = []
  const written: number[] = []
  return {
    bytes,
    written,
    sendFile: async ({ isInMemory }, position, length) => {
      assert.ok(isInMemory)
      const count = Math.min(most(), length)
      bytes.push(content.subarray(position, position + count))
      return count
    },
    write: async (chunk) => {
      bytes.push(Buffer.from(chunk))
      written.push(chunk.byteLength)
    },
  }
}

for (const [start, end] of [
  [0, size],
  [1, size - 1],
  [700_000, 700_001],
  [5, 5],
] as const) {
  test(`bytes ${start} to ${end} of a file in memory, read and sent`, async () => {
    await using open = await openFile(content)
    const stream = (): MemoryFileStream => new MemoryFileStream(open.file, { start, end })
    const wanted = content.subarray(start, end)
    assert.ok((await collect(stream(), size)).equals(wanted))
    for (const most of [size, 300_000, 1000, 0]) {
      const to = target(() => most)
      await stream().transferTo(to)
      assert.ok(Buffer.concat(to.bytes).equals(wanted), `${most} bytes at once`)
    }
  })
}

test('what the system takes no more of is waited for with few bytes, and read where it takes none', async () => {
  await using open = await openFile(content)
  const whole = { start: 0, end: size }
  const rooms = [600_000, 400_000, size]
  const full = target(() => rooms.shift() ?? 0)
  await new MemoryFileStream(open.file, whole).transferTo(full)
  assert.deepEqual(full.written, [4096, 4096])
  const never = target(() => 0)
  await new MemoryFileStream(open.file, whole).transferTo(never)
  assert.deepEqual(never.written, [4096, ...Array<number>(15).fill(65_536), 61_440], 'it may have to wait for its turn')
})

test('P7: an answer that waits until others have left holds few bytes, and a client who waits not many', async () => {
  await using open = await openFile(content)
  const sizes: number[] = []
  for await (const chunk of new MemoryFileStream(open.file, { start: 5, end: 200_005 })) sizes.push(chunk.byteLength)
  assert.deepEqual(sizes, [4096, 65_536, 65_536, 64_832])
})

test('P1: a file that is closed, or has too few bytes, fails who reads it', async () => {
  await using open = await openFile(content.subarray(0, 1000))
  const closed: MemoryFile = { fd: -1, isInMemory: true, [Symbol.dispose]: () => {} }
  for (const [file, reason] of [
    [open.file, /has 1000 of 2000 bytes/],
    [closed, /"fd" is out of range/],
  ] as const) {
    const stream = (): MemoryFileStream => new MemoryFileStream(file, { start: 0, end: 2000 })
    await assert.rejects(collect(stream(), size), reason)
    await assert.rejects(stream().transferTo(target(() => 0)), reason)
  }
})

// Blobs that leave by `transferTo`: what is held while they do, and who hears of a file that cannot be read.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ByteStream, ByteTarget } from '../../src/bytes/stream.ts'
import { DriverError, type OpenFile } from '../../src/drivers/driver.ts'
import { HeldStream } from '../../src/storage/held-stream.ts'
import { WatchedFile } from '../../src/storage/unreadable.ts'

const target: ByteTarget = { sendFile: async () => 0, write: async () => {} }

function file(transferTo?: ByteStream['transferTo']): OpenFile {
  return {
    size: 1,
    version: 'one',
    async *[Symbol.asyncIterator]() {},
    [Symbol.asyncDispose]: async () => {},
    transferTo,
  }
}

test('P7: a blob is held until it has been transferred, or could not be', async () => {
  let holds = 1
  const hold = (): Disposable => ({ [Symbol.dispose]: () => void holds-- })
  const seen: number[] = []
  await new HeldStream(
    file(async () => void seen.push(holds)),
    hold(),
  ).transferTo?.(target)
  assert.deepEqual([seen, holds], [[1], 0])
  holds = 1
  const broken = new HeldStream(
    file(async () => {
      throw new Error('gone')
    }),
    hold(),
  )
  await assert.rejects(async () => await broken.transferTo?.(target), /gone/)
  assert.equal(holds, 0)
  assert.equal(new HeldStream(file(), hold()).transferTo, undefined)
})

test('a file that cannot be read is told of, and a client that has gone is not its fault', async () => {
  const told: unknown[] = []
  const failing = async (error: Error): Promise<void> => {
    const watched = new WatchedFile(
      file(async () => {
        throw error
      }),
      (failure) => told.push(failure),
    )
    await assert.rejects(async () => await watched.transferTo?.(target), error)
  }
  await failing(new Error('the client went away'))
  assert.deepEqual(told, [])
  const broken = new DriverError('EIO', 'the disk is broken')
  await failing(broken)
  assert.deepEqual(told, [broken])
  assert.equal(new WatchedFile(file(), () => {}).transferTo, undefined)
})

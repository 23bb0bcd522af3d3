// What this process reads of files.
import fs from 'node:fs'
import { replaceCalls } from './system-calls.ts'

type ReadDone = (error: Error | null, count: number, into: Buffer) => void

/** Bytes that are read of files meanwhile. */
export async function bytesRead(task: () => Promise<void>): Promise<number> {
  let bytes = 0
  const { read } = fs
  const counted = (fd: number, into: Buffer, offset: number, length: number, at: number, done: ReadDone): void =>
    read(fd, into, offset, length, at, (error, count, same) => {
      bytes += count
      done(error, count, same)
    })
  using _ = replaceCalls({ read: counted })
  await task()
  return bytes
}

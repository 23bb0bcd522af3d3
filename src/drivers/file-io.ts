// System calls on file descriptors as promises. They cost half of what a FileHandle does, and nothing closes them behind
// our back: whoever opens a descriptor closes it.
import { close, constants, fsync, ftruncate, open, read, write, type Stats } from 'node:fs'
import pLimit, { type LimitFunction } from 'p-limit'

/** The last component must not be a symbolic link, and a FIFO must not make us wait for its writer. */
export const readFlags: number = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
export const createFlags: number = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
export const appendFlags: number = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY

const fileMode = 0o640
export const folderMode = 0o750

/**
 * Of the whole process, as Node's pool of threads is: a disk that takes seconds to sync must leave threads for those who
 * read.
 */
const syncing: LimitFunction = pLimit(2)

type Done = (error: Error | null) => void

async function settled(call: (done: Done) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  call((error) => (error === null ? resolve() : reject(error)))
  return await promise
}

async function counted(call: (done: (error: Error | null, count: number) => void) => void): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  call((error, count) => (error === null ? resolve(count) : reject(error)))
  return await promise
}

export async function openFile(path: string, flags: number): Promise<number> {
  return await counted((done) => open(path, flags, fileMode, done))
}

export async function readAt(fd: number, into: Buffer, length: number, position: number): Promise<number> {
  return await counted((done) => read(fd, into, 0, length, position, done))
}

/** Writes all of `bytes`: one call of the system may take less, as it does on a disk that fills up. */
export async function writeAt(
  fd: number,
  bytes: Uint8Array,
  position: number,
  onTaken?: (count: number) => void,
): Promise<void> {
  let taken = 0
  while (taken < bytes.byteLength) {
    const from = taken
    const count = await counted((done) => write(fd, bytes, from, bytes.byteLength - from, position + from, done))
    if (count === 0) throw Object.assign(new Error('the system takes no more bytes'), { code: 'EIO' })
    taken += count
    onTaken?.(count)
  }
}

export async function syncFile(fd: number): Promise<void> {
  await syncing(async () => await settled((done) => fsync(fd, done)))
}

export async function closeFile(fd: number): Promise<void> {
  await settled((done) => close(fd, done))
}

/** Makes a folder's entries durable. File systems that cannot sync a folder say EINVAL, and then keep order themselves. */
export async function syncFolder(path: string): Promise<void> {
  const fd = await openFile(path, folderFlags)
  try {
    await syncFile(fd)
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error
  } finally {
    await closeFile(fd)
  }
}

/** Node's code of a failed call: `ENOENT`, `EIO` … */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

export async function emptyFile(fd: number): Promise<void> {
  await settled((done) => ftruncate(fd, done))
}

/** Another text whenever a file is replaced or written to, within the resolution of the file system's clock. */
export function versionOf(stats: Stats): string {
  return `${stats.ino}-${stats.size}-${stats.mtimeMs}-${stats.ctimeMs}`
}

/** Another text for any other file at any place, and the same one while a file is written to. */
export function identityOf(place: string, stats: Stats): string {
  return `${place}:${stats.dev}:${stats.ino}:${stats.birthtimeMs}`
}

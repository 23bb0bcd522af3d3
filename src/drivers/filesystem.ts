// A folder of a local or shared file system. Files come into being under a temporary name in a private folder of the same
// file system, and show at their place only when they are whole and durable.
import { closeSync, fstatSync, futimesSync, type Stats } from 'node:fs'
import { lstat, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import pLimit, { type LimitFunction } from 'p-limit'
import { leadsBack } from './circles.ts'
import {
  checkPath,
  checkPathBelowRoot,
  DriverError,
  isPathComponent,
  type DriverPath,
  type FileRange,
  type FileStat,
  type FileWriter,
  type OpenFile,
  type RemoveOptions,
  type StorageDriver,
  type WriterOptions,
} from './driver.ts'
import {
  appendFlags,
  closeFile,
  codeOf,
  createFlags,
  openFile,
  readAt,
  readFlags,
  syncFile,
  identityOf,
  syncFolder,
  versionOf,
  writeAt,
} from './file-io.ts'
import { failure, notFile, translate } from './file-failure.ts'
import { FileStream } from './file-stream.ts'
import { FilesystemWriter } from './file-writer.ts'
import { Folders } from './folders.ts'
import { Owner } from './owner.ts'
import { SharedBlocks } from './shared-blocks.ts'
import { temporaryPath } from './temporary.ts'

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

export interface FilesystemDriverOptions {
  readonly rootDirectory: string
  /** Calls of the driver that may be under way at once; reading an open file is not one. */
  readonly maxThreads?: number | undefined
}

export function filesystemDriver(options: FilesystemDriverOptions): StorageDriver {
  return new FilesystemDriver(options)
}

class FilesystemDriver implements StorageDriver {
  readonly name = 'filesystem'
  readonly #root: string
  readonly #limit: LimitFunction
  readonly #folders: Folders
  readonly #owner: Owner
  readonly #blocks = new SharedBlocks({ size: 512 * kibibyte, budget: 32 * mebibyte, kept: 8 * mebibyte, crowd: 16 }, [
    { size: 64 * kibibyte, most: 16 * mebibyte, kept: 2 * mebibyte },
    { size: 16 * kibibyte, most: Infinity, kept: mebibyte },
  ])

  constructor(options: FilesystemDriverOptions) {
    this.#root = resolve(options.rootDirectory)
    this.#limit = pLimit(options.maxThreads ?? 100)
    this.#owner = new Owner(this.#root)
    this.#folders = new Folders(this.#root, this.#owner)
  }

  async stat(path: DriverPath): Promise<FileStat> {
    return await this.#look(path, async (place) => {
      const stats = await lstat(place)
      if (!stats.isFile() && !stats.isDirectory()) throw notFile(path)
      const kind = stats.isFile() ? 'file' : 'directory'
      return { kind, size: stats.isFile() ? stats.size : 0, modified: stats.mtime, version: versionOf(stats) }
    })
  }

  async read(path: DriverPath, limit: number): Promise<Buffer> {
    return await this.#look(path, async (place) => {
      const { fd, stats } = await this.#openRead(place, path)
      try {
        if (stats.size > limit) throw new DriverError('EFBIG', `${path} is larger than ${limit} bytes`)
        const bytes = Buffer.allocUnsafeSlow(stats.size)
        let size = 0
        while (size < bytes.byteLength) {
          const count = await readAt(fd, bytes.subarray(size), bytes.byteLength - size, size)
          if (count === 0) break
          size += count
        }
        return bytes.subarray(0, size)
      } finally {
        closeSync(fd) // no wait: nothing was written, and the file is too small for its removal to take long
      }
    })
  }

  async open(path: DriverPath, range?: FileRange): Promise<OpenFile> {
    return await this.#look(path, async (place) => {
      const { fd, stats } = await this.#openRead(place, path)
      return new FileStream({
        fd,
        size: stats.size,
        version: versionOf(stats),
        identity: identityOf(place, stats),
        start: range?.start ?? 0,
        end: range?.end ?? stats.size,
        blocks: this.#blocks,
        failure: (error) => translate(error, path),
        short: () => new DriverError('ESHORT', `${path} ends too early`),
      })
    })
  }

  async write(path: DriverPath, bytes: Uint8Array): Promise<void> {
    checkPathBelowRoot(path)
    await this.#run(temporaryPath(), async (temporary) => {
      try {
        const fd = await this.#openMaking(temporary, createFlags)
        try {
          await writeAt(fd, bytes, 0)
          await syncFile(fd)
        } finally {
          await closeFile(fd)
        }
        await this.#publish(temporary, this.#place(path))
      } catch (error) {
        await unlink(temporary).catch(() => {}) // it may have been published already
        throw failure(error, path)
      }
    })
  }

  async writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter> {
    checkPathBelowRoot(path)
    return await this.#run(path, async (place) => {
      const fd = await this.#openMaking(place, appendFlags).catch((error: unknown) => {
        throw failure(error, path)
      })
      try {
        const stats = fstatSync(fd)
        if (!stats.isFile()) throw notFile(path)
        const writer = new FilesystemWriter(fd, path, stats.size)
        if (options?.append !== true) await writer.truncate()
        if (options?.touch === true) futimesSync(fd, new Date(), new Date())
        return writer
      } catch (error) {
        await closeFile(fd)
        throw error
      }
    })
  }

  async move(from: DriverPath, to: DriverPath): Promise<void> {
    checkPathBelowRoot(from)
    checkPathBelowRoot(to)
    await this.#run(from, async (place) => {
      if (!(await lstat(place)).isFile()) throw notFile(from)
      try {
        await this.#publish(place, this.#place(to))
      } catch (error) {
        if (codeOf(error) === 'ENOENT') await lstat(place) // of two who move it, one comes too late: then it is nothing that fails
        throw failure(error, to)
      }
    })
  }

  async remove(path: DriverPath, options?: RemoveOptions): Promise<void> {
    checkPathBelowRoot(path)
    await this.#run(path, async (place) => {
      if (!(await lstat(place)).isDirectory()) await unlink(place)
      else if (options?.ifEmpty === true) await rmdir(place)
      else await again(['ENOTEMPTY', 'EBUSY'], async () => await removeFolder(place))
      await syncFolder(dirname(place)).catch((error: unknown) => {
        if (codeOf(error) !== 'ENOENT') throw error // gone with all it held
      })
    })
  }

  async list(path: DriverPath): Promise<string[]> {
    return await this.#look(path, async (place) => {
      const names = (await readdir(place)).filter((name) => isPathComponent(name) && !isOfServer(name))
      if (await leadsBack(place, this.#root)) throw new DriverError('ENOTFILE', `${path} leads back to where it lies`)
      return names.toSorted()
    })
  }

  #place(path: DriverPath): string {
    return path === '/' ? this.#root : this.#root + path
  }

  /** Where a path is on this machine, given to a task whose failures become those that the contract names. */
  async #run<T>(path: DriverPath, task: (place: string) => Promise<T>): Promise<T> {
    checkPath(path)
    return await this.#limit(async () => {
      try {
        return await task(this.#place(path))
      } catch (error) {
        throw translate(error, path)
      }
    })
  }

  /** As `#run`, of a task that changes nothing: another client of a file server may put other files in the place of ours. */
  async #look<T>(path: DriverPath, task: (place: string) => Promise<T>): Promise<T> {
    return await this.#run(path, async (place) => await again(['ESTALE'], async () => await task(place), 3))
  }

  async #openRead(place: string, path: DriverPath): Promise<{ fd: number; stats: Stats }> {
    const fd = await openFile(place, readFlags)
    try {
      const stats = fstatSync(fd) // the inode is in memory: it was just opened
      if (!stats.isFile()) throw notFile(path)
      return { fd, stats }
    } catch (error) {
      await closeFile(fd)
      throw error
    }
  }

  /** Opens a file to write to, and makes the folders it lies in where they are missing. */
  async #openMaking(place: string, flags: number): Promise<number> {
    const folder = dirname(place)
    let fd: number
    try {
      fd = await openFile(place, flags)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      await this.#folders.ensure(folder)
      fd = await openFile(place, flags)
    }
    try {
      await this.#owner.give(place)
      await this.#folders.settled(folder)
      return fd
    } catch (error) {
      await closeFile(fd)
      throw error
    }
  }

  /** Renames a durable file into its place, and makes its being there durable too. */
  async #publish(from: string, to: string): Promise<void> {
    const folder = dirname(to)
    await again(['ENOENT'], async () => {
      await this.#folders.ensure(folder)
      await rename(from, to)
    })
    await syncFolder(folder).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error // it is gone again, with its folder
    })
  }
}

/** How often something is begun anew that others undo while it is done. */
const maxAttempts = 50

/** Does it anew where it fails because of somebody who removes, fills or replaces the same at that moment. */
async function again<T>(codes: readonly string[], task: () => Promise<T>, attempts: number = maxAttempts): Promise<T> {
  for (let attempt = 1; attempt < attempts; attempt++) {
    try {
      return await task()
    } catch (error) {
      if (!codes.includes(codeOf(error) ?? '')) throw error
    }
  }
  return await task()
}

/** A file that is removed while it is open here keeps such a name on a file server, until it is closed (NFS). */
function isOfServer(name: string): boolean {
  return name.startsWith('.nfs') && /^\.nfs[0-9a-f]+$/.test(name)
}

/** Where nothing but such names is left, all that was in the folder is removed: neither they nor it can go before them. */
async function removeFolder(place: string): Promise<void> {
  try {
    await rm(place, { recursive: true })
  } catch (error) {
    const left = await readdir(place, { recursive: true, withFileTypes: true }).catch(() => [])
    const files = left.filter((entry) => !entry.isDirectory())
    if (files.length === 0 || !files.every(({ name }) => isOfServer(name))) throw error
  }
}

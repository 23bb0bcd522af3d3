// Bytes by path. A driver knows no digest and no repository: it is a file tree, on a disk, in memory or elsewhere.
import type { ByteStream } from '../bytes/stream.ts'

/** `/a/b/c`: one or more components of `[A-Za-z0-9._-]`, none of them `.` or `..`. `/` alone is the root. */
export type DriverPath = string

/** Where clients can have a driver's file without us. */
export type Redirect = (path: DriverPath) => Promise<URL>

export interface FileStat {
  readonly kind: 'file' | 'directory'
  /** Bytes; 0 for a directory. */
  readonly size: number
  readonly modified: Date
  /** An opaque text that is another whenever the bytes, or the names in a folder, may be others. */
  readonly version: string
}

export interface FileRange {
  readonly start: number
  /** Exclusive; without it, the file's end at the moment it is opened. */
  readonly end?: number | undefined
}

/** A file that is being read. It fails with DriverError ESHORT where the file turns out to end before the range does. */
export interface OpenFile extends ByteStream {
  /** Of the whole file, when it was opened. */
  readonly size: number
  /** As `FileStat.version` was then. */
  readonly version: string
}

/**
 * Every method throws PathNotFoundError where there is nothing at the path, InvalidPathError where the path is none,
 * DriverError where the medium fails (with `code`, as Node has it: ENOSPC, EIO, EACCES …). They never mean each other.
 * Where a file is wanted and something else is there (a folder, a symbolic link, a device) the code is ENOTFILE.
 */
export interface StorageDriver {
  readonly name: string
  stat(path: DriverPath): Promise<FileStat>
  /** A small file, whole. @throws DriverError EFBIG where it is larger than `limit` bytes */
  read(path: DriverPath, limit: number): Promise<Buffer>
  /**
   * Opens a file: when this resolves it exists and stays readable to the end, even if it is moved, replaced or removed.
   * A file that grows meanwhile may be read up to any byte that has been written.
   */
  open(path: DriverPath, range?: FileRange): Promise<OpenFile>
  /** Replaces a file at once: readers and a crash see the old bytes or the new, durable when this resolves. */
  write(path: DriverPath, bytes: Uint8Array): Promise<void>
  /** Opens a file for writing, made with its folders where it is not there. Without `append` it starts empty. */
  writer(path: DriverPath, options?: WriterOptions): Promise<FileWriter>
  /** Puts a file in another's place at once; both the new entry and its folders are durable when this resolves. */
  move(from: DriverPath, to: DriverPath): Promise<void>
  /** Removes a file, or a folder with all that is in it; durable when this resolves. */
  remove(path: DriverPath, options?: RemoveOptions): Promise<void>
  /**
   * The names in a folder, in byte order; those that no path can hold are left out, and those that are the medium's own.
   * Of a file: PathNotFoundError. Of a link that leads back to a folder that it lies in: ENOTFILE, so that walks end.
   */
  list(path: DriverPath): Promise<readonly string[]>
}

export interface RemoveOptions {
  /** A folder goes only where nothing is in it. @throws DriverError ENOTEMPTY */
  readonly ifEmpty?: boolean | undefined
}

export interface WriterOptions {
  readonly append?: boolean | undefined
  /** The file counts as written to now. */
  readonly touch?: boolean | undefined
}

/** A file that is being written. Disposing it closes it and keeps its bytes. */
export interface FileWriter extends AsyncDisposable {
  /** Bytes in the file. */
  readonly size: number
  /** Resolves when all of `chunk` has been taken; the caller may reuse it then. @throws DriverError */
  write(chunk: Uint8Array): Promise<void>
  /** Makes all that was written durable. After a failure nothing written to the file may be trusted; it fails again. */
  sync(): Promise<void>
  /** Idempotent. */
  close(): Promise<void>
}

export class PathNotFoundError extends Error {
  override readonly name = 'PathNotFoundError'
  readonly path: DriverPath

  constructor(path: DriverPath, options?: ErrorOptions) {
    super(`nothing at ${path}`, options)
    this.path = path
  }
}

export class InvalidPathError extends Error {
  override readonly name = 'InvalidPathError'

  constructor(path: string) {
    super(`not a path: ${JSON.stringify(path.slice(0, 200))}`)
  }
}

/** The medium failed. */
export class DriverError extends Error {
  override readonly name = 'DriverError'
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Where a driver that needs a second name for a file keeps it; what a dead process leaves here may be removed. */
export const temporaryFolder: DriverPath = '/entrepot/tmp'

const pathPattern = /^(?:\/[A-Za-z0-9._-]+)+$/

/** @throws InvalidPathError */
export function checkPath(path: string): void {
  if (path === '/') return
  if (!pathPattern.test(path) || /\/\.\.?(?:\/|$)/.test(path)) throw new InvalidPathError(path)
}

/** As `checkPath`, for what cannot be done to the root. @throws InvalidPathError */
export function checkPathBelowRoot(path: string): void {
  checkPath(path)
  if (path === '/') throw new InvalidPathError(path)
}

/** Whether a name can be a component of a path. */
export function isPathComponent(name: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(name) && name !== '.' && name !== '..'
}

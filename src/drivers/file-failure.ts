// What a call of the system failed with, as the driver's callers know it.
import { DriverError, InvalidPathError, PathNotFoundError, type DriverPath } from './driver.ts'
import { codeOf } from './file-io.ts'

/** Codes of a call that found something else than the file it wanted: a folder, a symbolic link, a socket. */
const notFileCodes: readonly string[] = ['EISDIR', 'ELOOP', 'ENXIO']

export function notFile(path: DriverPath, options?: ErrorOptions): DriverError {
  return new DriverError('ENOTFILE', `there is something else than a file at ${path}`, options)
}

/** Of a call that reads: that there is nothing is an answer. */
export function translate(error: unknown, path: DriverPath): Error {
  if (isTranslated(error)) return error
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR' ? new PathNotFoundError(path, { cause: error }) : failure(error, path)
}

/** Of a call that writes: whatever it is, the medium failed. */
export function failure(error: unknown, path: DriverPath): Error {
  if (isTranslated(error)) return error
  const code = codeOf(error)
  if (code === undefined) return error instanceof Error ? error : new Error('not an error', { cause: error })
  if (notFileCodes.includes(code)) return notFile(path, { cause: error })
  return new DriverError(code, `${code} at ${path}`, { cause: error })
}

function isTranslated(error: unknown): error is Error {
  return error instanceof DriverError || error instanceof PathNotFoundError || error instanceof InvalidPathError
}

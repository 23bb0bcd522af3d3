/** A guard that was asked for and cannot stand, because of one of its files. One line, which holds nothing of the file. */
export class AccessSetupError extends Error {
  override readonly name = 'AccessSetupError'

  /** `key`: whose value `path` is in the configuration. */
  constructor({ key, path }: { readonly key: string; readonly path: string }, what: string, cause?: unknown) {
    super(`${key}: ${path} ${what}`, { cause })
  }
}

/** `ENOENT` and its like: the system's own message would repeat the path. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error ? String(error.code) : error.message
}

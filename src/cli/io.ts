// The edge of the process, handed to commands as data: tests hand in another.

/** What a command may touch of the process it runs in. */
export interface Io {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean }
  readonly stderr: NodeJS.WritableStream
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Fires when the process is asked to end. */
  readonly signal: AbortSignal
  /** Gives off `reload` when the process is asked to read its configuration again. Whoever does prevents its default: the end. */
  readonly hangUp?: EventTarget | undefined
  /** Fires, and then `signal` does, when something has failed that nobody caught; its reason is the error. */
  readonly failed: AbortSignal
}

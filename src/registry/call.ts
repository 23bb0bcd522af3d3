// What every call of the contract can be given.

export interface CallOptions {
  /** Ends the caller's wait. Work that others wait for too goes on without it. */
  readonly signal?: AbortSignal | undefined
  /** Where the callee notes how it came to its answer; one per client request. */
  readonly trace?: Trace | undefined
}

/** How a request was answered: written by whoever decides it, read for the reply's headers and the log line. */
export interface Trace {
  /** `local`: from our own storage alone. `upstream`: an upstream was asked. `fill`: bytes of a running fill. */
  from?: 'local' | 'upstream' | 'fill'
  /** The configured name of the upstream that the repository belongs to. */
  upstream?: string
  /** What our storage calls the repository: one name, however clients write it. Absent where it is ours. */
  repository?: string
  /** Why an answer may be out of date; sent as `Warning: 299` (OCI distribution-spec, «Warnings»). */
  warning?: string
  /** Who the client is, where somebody has made sure of it. */
  user?: string
}

/** Notes where an answer came from; the farthest place wins. */
export function noteFrom(trace: Trace | undefined, from: NonNullable<Trace['from']>): void {
  if (trace !== undefined && trace.from !== 'fill') trace.from = from
}

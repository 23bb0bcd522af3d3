// What every call of the contract can be given.
import type { RepositoryName } from '../oci/reference.ts'

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
  /** Where somebody wants to know: the client's request. */
  readonly request?: RequestFacts | undefined
  /** Who asks, where that was proven. */
  user?: string
  /**
   * Places in our storage that the client was let into. What an upstream shows to some clients only is shown nowhere else,
   * wherever a decorator may lead the request.
   */
  granted?: readonly RepositoryName[] | undefined
  /**
   * Set by a decorator that waits for it: called once, when the request has been answered, with the status; with none where
   * the client left before.
   */
  answered?: (status: number | undefined) => void
}

/** What is known of a client's request. */
export interface RequestFacts {
  /** A UUID of our own. */
  readonly id: string
  /** `address:port` of the client. */
  readonly address: string
  /** As the client wrote it. */
  readonly host: string | undefined
  readonly method: string
  readonly userAgent: string | undefined
  /** What URLs begin with that lead this client to us again, up to and without `v2/`. */
  readonly base: string
}

/** Notes where an answer came from; the farthest place wins. */
export function noteFrom(trace: Trace | undefined, from: NonNullable<Trace['from']>): void {
  if (trace !== undefined && trace.from !== 'fill') trace.from = from
}

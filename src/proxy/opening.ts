// Where a transfer begins: behind what an earlier fill has left, where that is of use, else at the first byte.
import { isAbsence } from '../oci/error.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Spool } from './spool.ts'
import type { Transfer } from './transfer.ts'

export interface OpeningOptions {
  readonly open: (start: number) => Promise<Transfer>
  /** Told where what is left cannot be read. */
  readonly onUnreadable: (error: unknown) => void
  readonly signal: AbortSignal
}

export interface Opening {
  readonly transfer: Transfer
  /** Bytes that the spool holds, and has counted. */
  readonly start: number
}

/** @throws what `open` does; the signal's reason */
export async function openBehind(spool: Spool, options: OpeningOptions): Promise<Opening> {
  const { size: left } = spool
  if (left > 0) {
    const transfer = await goOn(spool, left, options)
    if (transfer !== undefined) return { transfer, start: left }
    await spool.restart()
  }
  return { transfer: await options.open(0), start: 0 }
}

/** `undefined` where what is left is of no use. */
async function goOn(spool: Spool, left: number, options: OpeningOptions): Promise<Transfer | undefined> {
  await using opened = new AsyncDisposableStack()
  let transfer: Transfer | undefined
  try {
    transfer = await options.open(left)
  } catch (error) {
    const status = error instanceof UpstreamError ? error.status : undefined
    if (status === 206) return undefined // ranges come wrong, the whole need not
    // Whoever has no byte behind these has no byte left to send, or had fewer to begin with.
    if (status !== 416) throw error
  }
  opened.use(transfer)
  if (transfer?.size !== undefined && transfer.size < left) return undefined
  try {
    await spool.count()
  } catch (error) {
    options.signal.throwIfAborted()
    options.onUnreadable(error)
    return undefined
  }
  if (transfer === undefined) return spool.isRight() ? nothingMore(left) : undefined
  opened.move()
  return transfer
}

function nothingMore(size: number): Transfer {
  return { size, body: (async function* () {})(), hosts: new Set(), async [Symbol.asyncDispose]() {} }
}

/** How an upstream answers that is busy or away for a moment. */
const busy: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * Whether the upstream did not get as far as the bytes behind those that are here: these are as good as before. An answer
 * of any other kind may be one to the range, which would come each time.
 */
export function saysNothingOfRanges(error: unknown): boolean {
  if (isAbsence(error)) return true
  return error instanceof UpstreamError && (error.status === undefined || busy.has(error.status))
}

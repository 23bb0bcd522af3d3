// What an answer means that is not the one hoped for.
import { bareMediaType } from '../oci/media-type.ts'
import { UpstreamError, type UpstreamFailure } from '../registry/upstream-error.ts'
import type { Answer } from './answer.ts'
import { parseRetryAfter } from './retry-after.ts'

const maxErrorBody = 64 * 1024

/** Takes the body of an answer and says what failed: the status, and the error's code where the body has one. */
export async function answerError(answer: Answer, who = ''): Promise<UpstreamError> {
  const { host, status } = answer
  const retryAfter = parseRetryAfter(answer.header('retry-after'))
  const code = await errorCode(answer)
  const subject = who === '' ? host : `${who} ${host}`
  const message = `${subject} answered ${status}${code === undefined ? '' : ` (${code})`}`
  return new UpstreamError(failureOf(status), host, message, { status, retryAfter })
}

function failureOf(status: number): UpstreamFailure {
  if (status === 401 || status === 403) return 'denied'
  if (status === 429) return 'rate-limited'
  return status >= 500 ? 'unavailable' : 'invalid'
}

/** The envelope's first code (distribution-spec, «Error Codes»). Nothing else of the body is passed on. */
async function errorCode(answer: Answer): Promise<string | undefined> {
  if (!/\bjson\b/.test(bareMediaType(answer.header('content-type') ?? ''))) {
    await answer.discard()
    return undefined
  }
  try {
    const document: unknown = JSON.parse((await answer.collect(maxErrorBody)).toString('utf8'))
    return codeIn(document)
  } catch {
    return undefined
  }
}

function codeIn(document: unknown): string | undefined {
  if (typeof document !== 'object' || document === null || !('errors' in document)) return undefined
  const first: unknown = Array.isArray(document.errors) ? document.errors[0] : undefined
  if (typeof first !== 'object' || first === null || !('code' in first)) return undefined
  return typeof first.code === 'string' && /^[A-Z][A-Z0-9_]{0,63}$/.test(first.code) ? first.code : undefined
}

/** A HEAD that ends so says nothing about the content: the server, or what is in between, has no HEAD. */
export const headUnusable: ReadonlySet<number> = new Set([400, 405, 406, 501])

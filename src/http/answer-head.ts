// The head of an answer that leaves past node:http, as that would write it.
import type { OutgoingHttpHeaders } from 'node:http'

export interface AnswerHead {
  readonly status: number
  readonly headers: OutgoingHttpHeaders
  /** Of the body, where `headers` does not say it. */
  readonly length: number
  /** What is said of the connection, as whole lines. */
  readonly connection: readonly string[]
}

/** With the empty line that ends it. */
export function answerHead({ status, headers, length, connection }: AnswerHead): string {
  const lines = [`HTTP/1.1 ${status} ${process.getBuiltinModule('node:http').STATUS_CODES[status]}`]
  const all = headers['content-length'] === undefined ? { 'content-length': length, ...headers } : headers
  for (const [name, value] of Object.entries(all)) {
    for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${one}`)
  }
  lines.push(`Date: ${new Date().toUTCString()}`, ...connection)
  return `${lines.join('\r\n')}\r\n\r\n`
}

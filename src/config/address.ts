// Network addresses as Go writes them: `host:port`, `:port`, `[::1]:port`.
import { isIPv6 } from 'node:net'

export interface Address {
  /** Without brackets; empty where none was written. */
  readonly host: string
  readonly port: number
}

/** `defaultPort` stands in where the text has none; without one, such a text is no address. */
export function findAddress(text: string, defaultPort?: number): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]*))(?::(\d{1,5}))?$/.exec(text)
  if (match === null) return undefined
  const [, bracketed, plain = '', digits] = match
  if (bracketed !== undefined && !isIPv6(bracketed)) return undefined
  const port = digits === undefined ? defaultPort : Number(digits)
  return port === undefined || port > 65_535 ? undefined : { host: bracketed ?? plain, port }
}

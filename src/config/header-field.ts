// What a header can be called, and can hold.
import { ConfigError } from './config-error.ts'
import { list, mapOf, type Schema } from './section.ts'
import { isTree } from './tree.ts'

/** Names of headers, each with its values. One that holds nothing is not set, as in distribution: so the environment unsets it. */
export function headersOf(value: Schema<string>): Schema<Record<string, string[]>> {
  const schema = mapOf(list(value))
  return {
    inside: schema.inside,
    read: (map, path) => {
      const given = isTree(map)
        ? Object.fromEntries(Object.entries(map).filter(([, values]) => values !== undefined))
        : map
      return schema.read(given, path)
    },
  }
}

/** RFC 9110 §5.1. */
export function isHeaderName(text: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(text)
}

/** RFC 9110 §5.5, less what lies beyond ASCII. */
export function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e]*$/.test(text)
}

/** Whether it says where a body ends (RFC 9112 §6): a wrong word of it would have clients read past it, or wait. */
export function isOfFraming(name: string): boolean {
  return /^(?:content-length|transfer-encoding|trailer)$/i.test(name)
}

/** Of requests that we send. Their values are never shown: they may be secrets. @throws ConfigError in the name of `key` */
export function checkHeaders(
  headers: Readonly<Record<string, string[]>>,
  key: string,
): Readonly<Record<string, string[]>> {
  for (const [name, values] of Object.entries(headers)) {
    if (!isHeaderName(name)) {
      throw new ConfigError(`${key}: found what is no name of a header, expected one such as Authorization`)
    }
    if (!values.every(isHeaderValue)) {
      throw new ConfigError(`${key}.${name}: found characters that no header can hold`)
    }
  }
  return headers
}

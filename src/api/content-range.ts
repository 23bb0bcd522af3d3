// Which part of a blob the chunk of an upload is. In this API a range is two numbers and no unit; some clients send RFC
// 9110's form all the same.
import { RegistryError } from '../oci/error.ts'

export interface Chunk {
  readonly start: number
  readonly length: number
}

/** `0-1023`, both inclusive; `undefined` where the client does not say. @throws RegistryError RANGE_INVALID */
export function parseChunkRange(header: string | undefined): Chunk | undefined {
  if (header === undefined) return undefined
  const [, first, last] = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header) ?? []
  if (first === undefined || last === undefined || Number(last) < Number(first)) {
    throw new RegistryError('RANGE_INVALID', 'Content-Range is not <first>-<last>')
  }
  return { start: Number(first), length: Number(last) - Number(first) + 1 }
}

// What a client says it can read, as CNCF distribution reads it: exact media types count, parameters do not. A client that
// says nothing, or `*/*`, is taken at its word (distribution takes both for clients of before schema 2).
import { bareMediaType } from '../oci/media-type.ts'

export interface Accepted {
  /** There is no `Accept` at all: a client of today, or docker before 1.10. */
  readonly isUnsaid: boolean
  accepts(mediaType: string): boolean
}

/** Types that are looked at; no client has use for more. */
const maxTypes = 100

export function parseAccept(header: string | undefined): Accepted {
  if (header === undefined || header.trim() === '') return { isUnsaid: true, accepts: () => true }
  const types = new Set(header.split(',', maxTypes).map(bareMediaType))
  const isAnything = types.has('*/*') || types.has('application/*')
  return { isUnsaid: false, accepts: (mediaType) => isAnything || types.has(mediaType) }
}

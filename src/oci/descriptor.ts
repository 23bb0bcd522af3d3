// What is known of content without having it (OCI image-spec, «Content Descriptors»).
import type { Digest } from './digest.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

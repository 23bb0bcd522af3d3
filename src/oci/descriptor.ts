// What is known of content without having it (OCI image-spec, «Content Descriptors»).
import type { Digest } from './digest.ts'
import { mediaTypes } from './media-type.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** Of bytes that nobody has said anything about but their digest. */
export function blobDescriptor(digest: Digest, size: number): Descriptor {
  return { mediaType: mediaTypes.octetStream, digest, size }
}

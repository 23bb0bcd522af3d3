// The layer that stands for «nothing was changed»: schema 1 wants a layer for every line of an image's history.
import { parseDigest, type Digest } from '../oci/digest.ts'

export const emptyLayerDigest: Digest = parseDigest(
  'sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4',
)

export const emptyLayerSize = 32

/** A gzipped tar without entries, the same 32 bytes everywhere. Each call gives a buffer of its own. */
export function emptyLayer(): Buffer {
  return Buffer.from('1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000', 'hex')
}

// The objects of the origin. Large ones are not held in memory: any range of them can be made.
import { createCipheriv, createHash, randomBytes } from 'node:crypto'

export interface StoredObject {
  readonly digest: string
  readonly mediaType: string
  readonly size: number
  read(start: number, end: number): Buffer
}

const blockSize = 1024 * 1024
const pieceSize = 256 * 1024

/** Where one stretch of bytes can be had at once from `start` on. */
export function pieceEnd(start: number, end: number): number {
  return Math.min(end, start + pieceSize - (start % pieceSize))
}

export function blobOf(size: number): StoredObject {
  const block = createCipheriv('aes-128-ctr', randomBytes(16), Buffer.alloc(16)).update(Buffer.alloc(blockSize))
  /** Within one block; each of them differs from the others in its first bytes. */
  const read = (start: number, end: number): Buffer => {
    const at = start % blockSize
    if (at >= 8) return block.subarray(at, at + end - start)
    const bytes = Buffer.from(block.subarray(0, at + end - start))
    if (bytes.length >= 8) bytes.writeBigUInt64LE(BigInt(Math.floor(start / blockSize)))
    return bytes.subarray(at)
  }
  const hash = createHash('sha256')
  for (let at = 0; at < size; at = pieceEnd(at, size)) hash.update(read(at, pieceEnd(at, size)))
  return { digest: `sha256:${hash.digest('hex')}`, mediaType: 'application/octet-stream', size, read }
}

export function documentOf(text: string): StoredObject {
  const bytes = Buffer.from(text)
  const { mediaType } = JSON.parse(text) as { mediaType: string }
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  return { digest, mediaType, size: bytes.length, read: (start, end) => bytes.subarray(start, end) }
}

export interface Part {
  readonly digest: string
  readonly size: number
}

/** An image's manifest; no two are alike. */
export function manifestOf(config: Part, layers: readonly Part[], filler = 0): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer })),
    annotations: { nonce: randomBytes(12).toString('hex'), filler: ' '.repeat(filler) },
  })
}

// The objects of the origin. Large ones are not held in memory: any range of them can be made.
import { createCipheriv, createHash, randomBytes } from 'node:crypto'

export interface StoredObject {
  readonly digest: string
  readonly mediaType: string
  readonly size: number
  readonly read: Read
}

const blockSize = 1024 * 1024
const pieceSize = 256 * 1024

/** Where one stretch of bytes can be had at once from `start` on. */
export function pieceEnd(start: number, end: number): number {
  return Math.min(end, start + pieceSize - (start % pieceSize))
}

/** Reads a part of a blob's bytes, within one piece. */
export type Read = (start: number, end: number) => Buffer

/** The bytes that 16 others stand for; each block differs from the others in its first eight. */
export function seeded(seed: Uint8Array): Read {
  const block = createCipheriv('aes-128-ctr', seed, Buffer.alloc(16)).update(Buffer.alloc(blockSize))
  return (start, end) => {
    const at = start % blockSize
    if (at >= 8) return block.subarray(at, at + end - start)
    const bytes = Buffer.from(block.subarray(0, Math.max(8, at + end - start)))
    bytes.writeBigUInt64LE(BigInt(Math.floor(start / blockSize)))
    return bytes.subarray(at, at + end - start)
  }
}

export function blobOf(size: number, seed: Uint8Array = randomBytes(16)): StoredObject {
  return objectOf(size, seeded(seed))
}

/** Bytes that are read a piece at a time. */
export function objectOf(size: number, read: Read): StoredObject {
  const hash = createHash('sha256')
  for (let at = 0; at < size; at = pieceEnd(at, size)) hash.update(read(at, pieceEnd(at, size)))
  return { digest: `sha256:${hash.digest('hex')}`, mediaType: 'application/octet-stream', size, read }
}

/** Whether these are a blob's bytes from `start` on. */
export function isPartOf(read: Read, bytes: Buffer, start: number): boolean {
  const end = start + bytes.byteLength
  for (let at = start; at < end;) {
    const first = at % blockSize
    const next = first < 8 ? Math.min(end, at + 8 - first) : pieceEnd(at, end)
    if (!bytes.subarray(at - start, next - start).equals(read(at, next))) return false
    at = next
  }
  return true
}

/** These bytes. */
export function wholeOf(bytes: Buffer): StoredObject {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  return {
    digest,
    mediaType: 'application/octet-stream',
    size: bytes.length,
    read: (start, end) => bytes.subarray(start, end),
  }
}

export function documentOf(text: string): StoredObject {
  const bytes = Buffer.from(text)
  const { mediaType } = JSON.parse(text) as { mediaType: string }
  return { ...wholeOf(bytes), mediaType }
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

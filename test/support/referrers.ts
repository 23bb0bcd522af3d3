// Manifests that point at another one, and what a client hears of them.
import assert from 'node:assert/strict'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import type { Referrer } from '../../src/oci/referrer.ts'
import { ask, type Answer } from './client.ts'

export const signatureType = 'application/vnd.test.signature'
export const sbomType = 'application/vnd.test.sbom'

export interface ReferrerParts {
  readonly artifactType?: string
  readonly annotations?: Record<string, string>
  readonly layers?: readonly Descriptor[]
}

/** An artifact about `subject`; another one for each `text`. */
export function referrerDocument(subject: Digest, text: string, parts: ReferrerParts = {}): Record<string, unknown> {
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: parts.artifactType ?? signatureType,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 },
    layers: parts.layers ?? [],
    subject: { mediaType: mediaTypes.ociManifest, digest: subject, size: 10 },
    annotations: { text, ...parts.annotations },
  }
}

export function bytesOf(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}

/** How a list should show the referrer whose bytes these are. */
export function listedAs(bytes: Buffer, digest: Digest = digestOf(bytes)): Referrer {
  const { mediaType, artifactType, annotations } = JSON.parse(bytes.toString()) as Referrer
  return { mediaType, digest, size: bytes.byteLength, artifactType, annotations }
}

export interface ReferrersAnswer extends Answer {
  /** Of the first page. */
  readonly digests: readonly string[]
  readonly manifests: readonly Record<string, unknown>[]
}

/** Asks for a list of referrers, which is an index whatever is in it. */
export async function askReferrers(url: string, name: string, subject: string, query = ''): Promise<ReferrersAnswer> {
  const answer = await ask(`${url}/v2/${name}/referrers/${subject}${query}`)
  assert.equal(answer.status, 200, answer.body.toString())
  assert.equal(answer.headers['content-type'], mediaTypes.ociIndex)
  assert.equal(answer.headers['content-length'], String(answer.body.length))
  const index = JSON.parse(answer.body.toString()) as { manifests: Record<string, unknown>[] }
  assert.deepEqual({ ...index, manifests: [] }, { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] })
  return { ...answer, manifests: index.manifests, digests: index.manifests.map(({ digest }) => String(digest)) }
}

// Images in a store, and a collection of garbage over them.
import assert from 'node:assert/strict'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { isManifestType, mediaTypes } from '../../src/oci/media-type.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { collectGarbage, type GarbageOptions, type GarbageReport } from '../../src/storage/garbage/collect.ts'
import type { LocalStore } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'

export interface Collected extends GarbageReport {
  readonly problems: readonly string[]
}

/** With a grace that makes everything old, unless another is given. */
export async function collectIn(driver: StorageDriver, options: Partial<GarbageOptions> = {}): Promise<Collected> {
  const problems: string[] = []
  const report = await collectGarbage({
    driver,
    descriptors: descriptorCache(openFactStore({ kind: 'none' }, silentLogger)),
    grace: -60_000,
    dryRun: false,
    deleteUntagged: false,
    onProblem: ({ text }) => problems.push(text),
    ...options,
  })
  return { ...report, problems }
}

export function layer(text: string): Buffer {
  return Buffer.from(`layer ${text}`)
}

interface Named {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

function describe(mediaType: string, bytes: Buffer): Named {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength }
}

/** An image manifest whose config and layers are the bytes that `layer` makes of these texts. */
export function image(texts: readonly string[], subject?: Buffer): Buffer {
  const [config, ...layers] = texts.map((text) => describe('application/vnd.oci.image.layer.v1.tar', layer(text)))
  const about = subject === undefined ? {} : { subject: describe(mediaTypes.ociManifest, subject) }
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers, ...about }))
}

export function index(children: readonly Buffer[], mediaType: string = mediaTypes.ociManifest): Buffer {
  const manifests = children.map((child) => describe(mediaType, child))
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }))
}

/** Stores what an image names, and the image. */
export async function pushImage(
  repository: WritableRepository,
  texts: readonly string[],
  subject?: Buffer,
): Promise<Buffer> {
  for (const text of texts) await repository.blobs.put(layer(text))
  const manifest = image(texts, subject)
  await repository.manifests.put(manifest)
  return manifest
}

/** A manifest is here, with all that it names, down to the last byte. */
export async function assertWhole(repository: WritableRepository, digest: Digest): Promise<void> {
  const { bytes } = await repository.manifests.get(digest)
  assert.equal(digestOf(bytes), digest)
  const { blobs, manifests } = parseManifest(bytes)
  for (const child of manifests.filter(({ mediaType }) => isManifestType(mediaType))) {
    await assertWhole(repository, child.digest)
  }
  for (const blob of blobs) {
    const { body } = await repository.blobs.open(blob.digest)
    assert.equal(digestOf(await collect(body, blob.size)), blob.digest)
  }
}

/** Which of the texts' layers are stored at all. */
export async function storedLayers(store: LocalStore, texts: readonly string[]): Promise<string[]> {
  const found = await Promise.all(texts.map(async (text) => await store.content.find(digestOf(layer(text)))))
  return texts.filter((_, at) => found[at] !== undefined)
}

export async function isManifestHere(repository: WritableRepository, manifest: Buffer): Promise<boolean> {
  for await (const digest of repository.manifests.list()) if (digest === digestOf(manifest)) return true
  return false
}
